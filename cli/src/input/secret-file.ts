import { readFile } from "node:fs/promises";
import type { FleetContext } from "../fleet-context.ts";
import { wrongUse } from "../fleet-error.ts";
import { readSecret } from "./ask.ts";

/** A secret from a file, or from stdin for "-": never from an argument, which everybody on the machine can read. */
export async function secretFrom(context: FleetContext, flag: string, file: string): Promise<string> {
  if (file === "-") return await readSecret(context, "the secret");
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw wrongUse(`${flag}: cannot read ${file}: ${error.message}`);
  });
  if (text.trim() === "") throw wrongUse(`${flag}: ${file} is empty`);
  return text.trim();
}
