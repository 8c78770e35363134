import { randomBytes } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

const form = /^[\w.-]{1,128}$/;

/**
 * The replica's name, kept in its data folder. A hub that was killed and starts again is the same holder of its leases, so that it goes on
 * at once instead of waiting until they run out; its fence grows all the same. The folder must be this process's alone.
 */
export async function readHubId(dataDir: string): Promise<string> {
  const file = join(dataDir, "hub-id");
  const known = (await readFile(file, "utf8").catch(() => "")).trim();
  if (form.test(known)) return known;
  const id = `${hostname()
    .replaceAll(/[^\w.-]/g, "-")
    .slice(0, 100)}-${randomBytes(4).toString("hex")}`;
  await writeFile(`${file}.part`, `${id}\n`);
  await rename(`${file}.part`, file);
  return id;
}
