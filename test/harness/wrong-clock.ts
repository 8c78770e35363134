import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const source = fileURLToPath(new URL("wrong-clock.c", import.meta.url));

/** Gives the variables that set a process' wall clock ahead by so many seconds, or behind. TLS in the process goes by that clock too. */
export type WrongClock = (aheadS: number) => NodeJS.ProcessEnv;

/** Builds the clock into `folder`; undefined where there is no C compiler. */
export async function buildWrongClock(folder: string): Promise<WrongClock | undefined> {
  const library = join(folder, "wrong-clock.so");
  try {
    await promisify(execFile)("cc", ["-shared", "-fPIC", "-O1", "-o", library, source]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return (aheadS) => ({ LD_PRELOAD: library, FLOTILLA_CLOCK_AHEAD_S: String(aheadS) });
}
