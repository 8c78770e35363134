import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";

/** Bytes that the path of a Unix socket may have: the least of any system's, 104 with its end. */
const pathMax = 103;

/** As long as the name of any of Postgres' sockets. */
const longestName = ".s.PGSQL.65535";

/** Where Postgres' sockets can be in this folder; undefined where they cannot. What was there is gone. */
export async function socketFolderIn(dataFolder: string): Promise<string | undefined> {
  const folder = resolve(dataFolder, "sockets");
  // A comma or a quote would end the path in Postgres' list of them.
  if (process.platform === "win32" || /[",]/.test(folder) || Buffer.byteLength(join(folder, longestName)) > pathMax) return undefined;
  await makeEmpty(folder);
  return (await takesSockets(folder)) ? folder : undefined;
}

/** A folder of mode 0700 with nothing in it. */
export async function makeEmpty(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
}

/** Not every file system does: folders that a virtual machine shares with its host often do not. */
export async function takesSockets(folder: string): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(join(folder, longestName));
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
