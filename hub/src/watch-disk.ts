import { statfs } from "node:fs/promises";
import { diskCheckMs, diskFreeBytesMin } from "./limits.ts";

export interface WatchDiskOptions {
  readonly dataDir: string;
  readonly log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  /** Whether something could not be written there: a disk may be full for a moment only, between two looks. */
  couldNotWrite?(): boolean;
  /** The disk was full and has room again. */
  onRoom(): void;
  /** Default diskCheckMs. */
  readonly everyMs?: number;
}

/** Says in the log when the data folder's disk becomes full, and when there is room again. Never throws. */
export function watchDisk({ dataDir, log, couldNotWrite = () => false, onRoom, everyMs = diskCheckMs }: WatchDiskOptions): { close(): Promise<void> } {
  let isFull = false;
  const look = async (): Promise<void> => {
    const { bavail, bsize } = await statfs(dataDir);
    const freeBytes = bavail * bsize;
    const free = `${Math.floor(freeBytes / 1024 ** 2)} MiB free`;
    if (!isFull && freeBytes < diskFreeBytesMin) {
      isFull = true;
      log.error({}, `the disk that holds ${dataDir} is full: ${free}. Free space there; the hub goes on by itself, and agents keep their reports meanwhile`);
    } else if ((isFull || couldNotWrite()) && freeBytes >= diskFreeBytesMin * 2) {
      log.info(
        {},
        isFull ? `the disk that holds ${dataDir} has room again: ${free}` : `something could not be written in ${dataDir}, where there is room: ${free}`,
      );
      isFull = false;
      onRoom();
    }
  };
  const timer = setInterval(() => void look().catch(() => undefined), everyMs);
  timer.unref();
  return { close: async () => clearInterval(timer) };
}
