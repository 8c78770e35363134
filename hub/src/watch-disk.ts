import { checkDisk } from "./hub-checks.ts";
import { diskCheckMs } from "./limits.ts";

interface DiskLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says in the log when the data folder's disk becomes full, and when there is room again. Never throws. */
export function watchDisk(dataDir: string, log: DiskLog, everyMs: number = diskCheckMs): { close(): Promise<void> } {
  let isFull = false;
  const look = async (): Promise<void> => {
    const { ok, message } = await checkDisk(dataDir);
    if (ok && isFull) log.info({}, `the disk that holds ${dataDir} has room again: ${message}`);
    if (!ok && !isFull) log.error({}, `${message}. Free space there; the hub goes on by itself, and agents keep their reports meanwhile`);
    isFull = !ok;
  };
  const timer = setInterval(() => void look().catch(() => undefined), everyMs);
  timer.unref();
  void look().catch(() => undefined);
  return { close: async () => clearInterval(timer) };
}
