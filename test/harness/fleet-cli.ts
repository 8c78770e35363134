import { join } from "node:path";
import type { Platform } from "./platform.ts";
import { runService } from "./spawn-service.ts";

/** The CLI as somebody uses it who is logged in to the platform's hub. */
export function fleetCli(platform: () => Platform): (...args: string[]) => ReturnType<typeof runService> {
  return (...args) => {
    const { folder, hub } = platform();
    const env = {
      FLOTILLA_HUB: hub.url,
      FLOTILLA_TOKEN: hub.api.token,
      HOME: folder,
      XDG_CONFIG_HOME: join(folder, "config"),
      XDG_STATE_HOME: join(folder, "xdg"),
    };
    return runService("cli", { args, env, timeoutMs: 90_000 });
  };
}
