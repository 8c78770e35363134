/**
 * The one error of this edge.
 *
 * - `unreachable`: Postgres does not answer, is starting, stopping or read-only; trying again later may work.
 * - `disk-full`: Postgres could not write; nothing of the transaction was kept.
 * - `fenced`: the lease is no longer held; nothing of the transaction was kept, and the work must be given up.
 * - `conflict`: what should be made is there already, or is in a state that forbids the act.
 * - `not-found`: what the act is about does not exist.
 * - `bad-cursor`: a page's cursor that this hub did not make.
 * - `ambiguous`: a prefix that names more than one.
 * - `schema`: the database's schema is newer, edited, or not one of ours.
 * - `sealing`: the encryption key is missing, unsafe, or not the one that the database was sealed with.
 */
export type StoreErrorCode = "unreachable" | "disk-full" | "fenced" | "conflict" | "not-found" | "bad-cursor" | "ambiguous" | "schema" | "sealing";

export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  /** How to mend it. */
  readonly hint: string | undefined;

  constructor(code: StoreErrorCode, message: string, details: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
  }
}

/** SQLSTATE of an error of Postgres, or undefined. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  // "EPIPE" is an errno and looks like one; every SQLSTATE of Postgres has a digit.
  return typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Two transactions crossed; the same one may be tried again at once. */
export function isSerializationFailure(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === "40001" || state === "40P01";
}

/** Postgres went away, is starting or stopping, is out of connections, or is a standby: nothing is wrong with the statement. */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof StoreError) return error.code === "unreachable";
  const state = sqlStateOf(error);
  if (state !== undefined) return /^(08|57P|25006|25P03|53300)/.test(state);
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown };
  // On a Unix socket a server that is away is ENOENT, or EAGAIN when more wait than it takes.
  if (syscall === "connect") return true;
  const text = `${typeof code === "string" ? code : ""} ${error instanceof Error ? error.message : ""}`;
  return /ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN|Connection terminated|connection timeout|timeout exceeded when trying to connect|not queryable|Query read timeout/i.test(
    text,
  );
}

/** The content of a statement was refused: trying again gives the same. */
export function isDataFailure(error: unknown): boolean {
  return /^(21|22|23|54|XX)/.test(sqlStateOf(error) ?? "");
}

/** The error of this edge for one of the driver's; others are returned as they are. */
export function asStoreError(error: unknown): unknown {
  if (error instanceof StoreError) return error;
  const state = sqlStateOf(error);
  if (state === "53100" || state === "58030") {
    return new StoreError("disk-full", "Postgres could not write: its disk is full", {
      hint: "free space on the volume that holds the database; the hub goes on by itself, and agents keep their reports meanwhile",
      cause: error,
    });
  }
  if (isUnreachable(error)) {
    return new StoreError("unreachable", `Postgres is not reachable: ${(error as Error).message}`, {
      hint: "check that it runs and accepts connections; the hub goes on by itself",
      cause: error,
    });
  }
  return error;
}
