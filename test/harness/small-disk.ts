import { execFile } from "node:child_process";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A small disk of a test's own, in memory, that can be filled. */
export interface SmallDisk {
  readonly folder: string;
  /** Until it takes not one page more. */
  fill(): Promise<void>;
  /** Takes away what it was filled with. */
  empty(): Promise<void>;
  /** Nobody may have a file of it open any more. */
  unmount(): Promise<void>;
}

/** Mounts a tmpfs on a folder that it makes; undefined where the system does not let us (it takes root). */
export async function mountSmallDisk(folder: string, sizeMiB: number): Promise<SmallDisk | undefined> {
  await mkdir(folder, { recursive: true });
  const isMounted = await run("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m,mode=0755`, "tmpfs", folder]).then(
    () => true,
    () => false,
  );
  if (!isMounted) return undefined;
  const filler = join(folder, "filler");
  return {
    folder,
    fill: () => fillUp(filler),
    empty: () => rm(filler, { force: true }),
    unmount: async () => void (await run("umount", [folder])),
  };
}

async function fillUp(filler: string): Promise<void> {
  const file = await open(filler, "a");
  try {
    for (let size = 1024 ** 2; size >= 4_096;) {
      await file.appendFile(Buffer.alloc(size, 1)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOSPC") throw error;
        size /= 2;
      });
    }
  } finally {
    await file.close();
  }
}
