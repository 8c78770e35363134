import { chmod, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { freemem } from "node:os";
import { join } from "node:path";

/** Linux keeps what is written here in memory. */
const memory = "/dev/shm";
const prefix = "flotilla-test-";
/** A whole run holds less than 2 GiB there at once. */
const roomMin = 4 * 1024 ** 3;
/** What the tests' servers take beside that. */
const memoryMin = 14 * 1024 ** 3;

/**
 * Makes `TMPDIR` a folder in memory, where there is enough of it and nobody chose another: databases, brokers and clones of tests live for a minute, and a
 * seventh of a run's time went into writing them to a disk. undefined where they stay on it.
 */
export async function scratchInMemory(): Promise<{ remove(): Promise<void> } | undefined> {
  if (process.env.TMPDIR || freemem() < memoryMin || !(await hasRoom())) return undefined;
  await removeForgotten();
  const folder = await mkdtemp(join(memory, `${prefix}${process.pid}-`));
  // Postgres runs as somebody else.
  await chmod(folder, 0o755);
  process.env.TMPDIR = folder;
  return {
    async remove() {
      delete process.env.TMPDIR;
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function hasRoom(): Promise<boolean> {
  const found = await statfs(memory).catch(() => undefined);
  return found !== undefined && found.bavail * found.bsize >= roomMin;
}

/** Of runs that were killed: memory is not a disk. */
async function removeForgotten(): Promise<void> {
  for (const name of await readdir(memory)) {
    const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN;
    if (!Number.isNaN(pid) && !isRunning(pid)) await rm(join(memory, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
