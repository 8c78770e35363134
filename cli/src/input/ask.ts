import { createInterface } from "node:readline";
import { exitCodes } from "../exit-codes.ts";
import type { FleetContext } from "../fleet-context.ts";
import { FleetError, wrongUse } from "../fleet-error.ts";

/** Bytes of a token or a password on stdin: far above any. */
const maxSecretChars = 65_536;

/** Asks for a yes on the terminal; without one, `--yes` is the only way. Throws FleetError when the answer is no. */
export async function confirm(context: FleetContext, question: string, yes: boolean): Promise<void> {
  if (yes) return;
  if (context.stdin.isTTY !== true) throw wrongUse("this wants a confirmation and there is no terminal to ask on", "give --yes");
  context.process.stderr.write(`${question} [y/N] `);
  const lines = createInterface({ input: context.stdin as unknown as NodeJS.ReadableStream });
  try {
    for await (const line of lines) {
      if (/^y(es)?$/i.test(line.trim())) return;
      break;
    }
  } finally {
    lines.close();
  }
  throw new FleetError("not confirmed; nothing was changed", exitCodes.failed);
}

/** A secret from stdin, up to the end of input, without the line break. */
export async function readSecret(context: FleetContext, what: string): Promise<string> {
  let text = "";
  for await (const chunk of context.stdin) {
    text += String(chunk);
    if (text.length > maxSecretChars) throw wrongUse(`${what} on stdin is longer than ${maxSecretChars} characters`);
    // A person ends a line, not the input.
    if (context.stdin.isTTY === true && text.includes("\n")) break;
  }
  const secret = text.trim();
  if (secret === "") throw wrongUse(`${what} was expected on stdin and nothing came`);
  return secret;
}
