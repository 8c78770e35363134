import { type ExitCode, exitCodes } from "./exit-codes.ts";

export interface FleetErrorOptions extends ErrorOptions {
  /** The remedy: a command or a change. */
  readonly hint?: string | undefined;
  /** Further lines, e.g. one per problem in a file. */
  readonly lines?: readonly string[];
  /** Status of the hub's answer, when there was one. */
  readonly status?: number;
}

/** What went wrong, what to do about it, and the exit status that says so. */
export class FleetError extends Error {
  override readonly name = "FleetError";
  readonly exitCode: ExitCode;
  readonly hint: string | undefined;
  readonly lines: readonly string[];
  readonly status: number | undefined;

  constructor(message: string, exitCode: ExitCode = exitCodes.failed, options: FleetErrorOptions = {}) {
    super(message, options);
    this.exitCode = exitCode;
    this.hint = options.hint;
    this.lines = options.lines ?? [];
    this.status = options.status;
  }
}

/** A command that was written wrongly: exit status 2. */
export function wrongUse(message: string, hint?: string): FleetError {
  return new FleetError(message, exitCodes.wrongUse, { hint });
}
