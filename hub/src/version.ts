import { readFileSync } from "node:fs";

/** The hub's own version: package.json lies one folder up, in a clone as in the packed form. */
export function readVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
