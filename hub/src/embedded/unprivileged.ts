import { execFile } from "node:child_process";
import { chown, lstat, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

/** The uid and gid of `nobody`, which every Linux has. */
const nobody = { uid: 65_534, gid: 65_534 };

/**
 * How to run a program that refuses to run as root. `wrap` gives the command, `owner` the uid to spawn it with, `own`
 * hands a folder over to it.
 */
export interface Unprivileged {
  owner?: { uid: number; gid: number };
  wrap(file: string, args: readonly string[]): { file: string; args: string[] };
  own(folder: string): Promise<void>;
}

/**
 * Chooses how: as ourselves when we are not root; as `nobody` when `nobody` can reach every path; else in a user
 * namespace where root is called `nobody`, which reaches what lies under /root or a private temporary folder and has
 * no capability outside of it. Throws when none works, and says what does.
 */
export async function runUnprivileged(paths: readonly string[]): Promise<Unprivileged> {
  if (process.getuid?.() !== 0) return { wrap: (file, args) => ({ file, args: [...args] }), own: async () => undefined };
  if (await everyoneReaches(paths)) {
    return { owner: nobody, wrap: (file, args) => ({ file, args: [...args] }), own: (folder) => ownAll(folder, nobody) };
  }
  await checkNamespace(paths);
  return { wrap: (file, args) => ({ file: "unshare", args: [...namespaceFlags, file, ...args] }), own: (folder) => ownAll(folder, { uid: 0, gid: 0 }) };
}

const namespaceFlags = ["--user", `--map-user=${nobody.uid}`, `--map-group=${nobody.gid}`, "--"];

async function checkNamespace(paths: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)("unshare", [...namespaceFlags, "true"]);
  } catch (error) {
    throw new Error(
      `Postgres will not run as root, the user nobody cannot reach ${paths.join(" or ")}, and this machine allows no user namespaces. ` +
        "Start the hub as an ordinary user, or give --data-dir a folder that everyone may enter (and install Flotilla in one), or give --database-url.",
      { cause: error },
    );
  }
}

/** True when every folder above each path lets everyone pass. What does not exist yet will be created by us. */
async function everyoneReaches(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
      const mode = await stat(folder).then(
        (found) => found.mode,
        () => 0o1,
      );
      if ((mode & 0o1) === 0) return false;
      if (folder === dirname(folder)) break;
    }
  }
  return true;
}

/** A folder that is its owner's already is left alone: a database has thousands of files. */
async function ownAll(path: string, owner: { uid: number; gid: number }): Promise<void> {
  const found = await lstat(path);
  if (found.uid === owner.uid && found.gid === owner.gid) return;
  if (found.isDirectory()) for (const name of await readdir(path)) await ownAll(join(path, name), owner);
  await chown(path, owner.uid, owner.gid);
}
