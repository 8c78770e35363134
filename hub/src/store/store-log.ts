/** Where the store tells what it mends by itself; pino fits. */
export interface StoreLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export const silentLog: StoreLog = { info: () => undefined, warn: () => undefined };
