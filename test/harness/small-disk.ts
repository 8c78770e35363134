import { once } from "node:events";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { spawnGuarded } from "@flotilla/hub/embedded/guarded-process";

/** A small disk of a test's own, in memory, that can be filled. */
export interface SmallDisk {
  readonly folder: string;
  /** Until it takes not one page more. */
  fill(): Promise<void>;
  /** Takes away what it was filled with. */
  empty(): Promise<void>;
  unmount(): Promise<void>;
}

/** Mounted for as long as this runs, which is no longer than the test's process: a disk that is left behind keeps its memory. */
const keepMounted = `
mount -t tmpfs -o "size=$1m,mode=0755" tmpfs "$2" || exit 1
trap 'kill $!; umount -l "$2"; exit 0' TERM
echo mounted
while :; do sleep 3600 & wait $!; done
`;

/** Mounts a tmpfs on a folder that it makes; undefined where the system does not let us (it takes root). */
export async function mountSmallDisk(folder: string, sizeMiB: number): Promise<SmallDisk | undefined> {
  await mkdir(folder, { recursive: true });
  const pidFile = `${folder}.pid`;
  const command = { file: "/bin/sh", args: ["-c", keepMounted, "small-disk", String(sizeMiB), folder] };
  const guard = spawnGuarded(command, { name: "small-disk", pidFile, stopSignal: "TERM" });
  guard.stderr.resume();
  const gone = once(guard, "exit");
  const isMounted = await Promise.race([once(guard.stdout, "data").then(() => true), gone.then(() => false)]);
  if (!isMounted) return undefined;
  const filler = join(folder, "filler");
  return {
    folder,
    fill: () => fillUp(filler),
    empty: () => rm(filler, { force: true }),
    async unmount() {
      guard.stdin.end();
      await gone;
      await rm(pidFile, { force: true });
    },
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
