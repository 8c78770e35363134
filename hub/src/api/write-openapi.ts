/** Writes docs/schema/openapi.json from the routes: `node hub/src/api/write-openapi.ts`. A test holds them equal. */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ApiOptions } from "./ports.ts";
import { buildApi } from "./start-api.ts";
import { Watchers } from "./watchers.ts";

const file = new URL("../../../docs/schema/openapi.json", import.meta.url);

/** The OpenAPI 3.1 document, as text. No route is called: what routes need stays away. */
export async function describeApi(): Promise<string> {
  const log = { info: () => undefined, warn: () => undefined };
  const options = { host: "127.0.0.1", port: 0, tls: undefined, store: {}, log, fleetSchema: {} } as unknown as ApiOptions;
  const watchers = new Watchers(options.store, log);
  const app = await buildApi(options, watchers);
  try {
    return `${JSON.stringify((app as unknown as { swagger(): object }).swagger(), null, 2)}\n`;
  } finally {
    watchers.close();
    await app.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, await describeApi());
}
