import { readFile, writeFile } from "node:fs/promises";

/**
 * Escapes what is not ASCII in a bundle, which esbuild leaves in regular expressions: one such letter, and V8 keeps the whole text with two bytes a letter (hub 4.7 MB,
 * agent 1.2).
 */
export async function keepAscii(file) {
  const text = await readFile(file, "utf8");
  const escaped = text.replace(/[^\0-\x7f]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
  if (escaped !== text) await writeFile(file, escaped);
}
