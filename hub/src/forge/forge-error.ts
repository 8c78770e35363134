/** Why a forge did not do what it was asked. Never holds the token. */
export class ForgeError extends Error {
  override readonly name = "ForgeError";
  /** HTTP's; 0 when there was no answer. */
  readonly status: number;
  /** When trying again can help, in milliseconds; undefined: not before a person mends something. */
  readonly againMs: number | undefined;
  readonly hint: string;

  constructor(message: string, more: { readonly status: number; readonly againMs?: number | undefined; readonly hint?: string; readonly cause?: unknown }) {
    super(message, more.cause === undefined ? {} : { cause: more.cause });
    this.status = more.status;
    this.againMs = more.againMs;
    this.hint = more.hint ?? "";
  }
}
