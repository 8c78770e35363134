import { execFile } from "node:child_process";
import { writeFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { cloneBytesMax, gitMemoryBytesMax } from "../limits.ts";

/**
 * Every Git command runs behind a few lines of shell: no file larger than a clone may be, no more memory than a command may take, no
 * core dumps, a process group of its own (so that helpers can be ended with it), and on Linux an end when the hub dies.
 */
export async function writeGitGuard(folder: string): Promise<string> {
  const isolate = await isolation();
  const script = [
    "#!/bin/sh",
    "umask 077",
    "ulimit -c 0 2>/dev/null",
    `ulimit -f ${Math.ceil(cloneBytesMax / 512)} 2>/dev/null`,
    `ulimit -v ${Math.ceil(gitMemoryBytesMax / 1024)} 2>/dev/null`,
    `exec ${isolate} "$@"`,
    "",
  ].join("\n");
  const file = join(folder, "git-guard");
  const part = `${file}.${process.pid}`;
  await writeFile(part, script, { mode: 0o600 });
  await rename(part, file);
  return file;
}

/** setsid and setpriv are on every Linux with util-linux; elsewhere only Git itself is ended, and its helpers end with their pipes. */
async function isolation(): Promise<string> {
  const words = ["git"];
  if (await works("setpriv", ["--pdeathsig", "KILL", "true"])) words.unshift("setpriv", "--pdeathsig", "KILL");
  if (await works("setsid", ["true"])) words.unshift("setsid");
  return words.join(" ");
}

function works(file: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: 5_000 }, (error) => resolve(error === null));
  });
}
