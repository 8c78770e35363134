import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../fleet-context.ts";

/** A hub that was started on this machine by this user. */
export interface LocalHub {
  readonly url: string;
  readonly token: string;
  readonly ca: string | undefined;
}

/** The data folder that `hub start` uses without --data-dir. */
export function hubDataDir(env: Environment): string {
  return env.FLOTILLA_DATA_DIR || join(env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local", "state"), "flotilla", "hub");
}

/** Reads what a started hub leaves in its data folder; undefined when there is none, or it is not ours. */
export async function findLocalHub(env: Environment): Promise<LocalHub | undefined> {
  const folder = hubDataDir(env);
  try {
    const endpoint = JSON.parse(await readFile(join(folder, "endpoint.json"), "utf8")) as { url?: unknown; caFile?: unknown };
    const token = (await readFile(join(folder, "admin-token"), "utf8")).trim();
    if (typeof endpoint.url !== "string" || token === "") return undefined;
    const ca = typeof endpoint.caFile === "string" ? await readFile(endpoint.caFile, "utf8") : undefined;
    return { url: endpoint.url, token, ca };
  } catch {
    return undefined;
  }
}
