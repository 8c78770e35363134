import type { CommandContext } from "@stricli/core";

/** A stream that output goes to. */
export interface OutputStream {
  write(text: string): void;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Where a command reads answers and tokens from. */
export interface InputStream extends AsyncIterable<Buffer | string> {
  readonly isTTY?: boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** What every command gets as `this`: the world around it, so that tests can give another. */
export interface FleetContext extends CommandContext {
  readonly process: { readonly stdout: OutputStream; readonly stderr: OutputStream };
  readonly env: Environment;
  readonly stdin: InputStream;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Aborted by Ctrl-C and SIGTERM; a second one ends the process. */
  readonly signal: AbortSignal;
  /** Ends with this status although nothing was thrown. */
  readonly exitWith: (code: number) => void;
}
