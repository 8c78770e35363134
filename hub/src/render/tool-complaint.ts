import type { Json } from "@flotilla/proto/digest";
import { isMap } from "../domain/merge-values.ts";
import type { Values } from "../domain/fleet-spec.ts";
import { renderMessageCharsMax } from "../limits.ts";

/**
 * A tool's complaint, fit to be shown: without the scratch folder's path, without the "Error:" in front, without manifests and
 * patches that the tool repeats (they may hold secrets), without secret-looking values, and short.
 */
export function cleanComplaint(text: string, options: { readonly scrub: (text: string) => string; readonly values?: Values }): string {
  const lines = options
    .scrub(text)
    .split("\n")
    .filter((line) => !/^(W?A?R?N?I?N?G: |level=|time=|# Warning)/.test(line) || /error/i.test(line));
  const joined = lines
    .join("\n")
    .trim()
    .replace(/^Error: /, "")
    .replace(/\n\nUse --debug flag[^\n]*/, "");
  const hidden = hideValues(hideRepeated(joined), options.values ?? {});
  return hidden.length > renderMessageCharsMax ? `${hidden.slice(0, renderMessageCharsMax)}…` : hidden;
}

/** Long quotations and bracketed or base64 text: the tool repeats input there. */
function hideRepeated(text: string): string {
  return text
    .replace(/\[[^\]]*\n[^\]]*\]/g, "[…]")
    .replace(/"(?:[^"\\]|\\.)*\\n(?:[^"\\]|\\.)*"/g, '"…"')
    .replace(/'[^']*\n[^']*'/g, "'…'")
    .replace(/\bmap\[[^\n]*/g, "map[…]")
    .replace(/node contents:[\s\S]*/, "node contents: …")
    .replace(/`[^`]*`/g, "`…`")
    .replace(/(?<![\w/.-])[A-Za-z0-9+/]{40,}={0,2}(?![\w/.-])/g, (found) => (looksEncoded(found) ? "…" : found))
    .split("\n")
    .slice(0, 6)
    .join("\n");
}

/** Base64 rather than a path. */
function looksEncoded(text: string): boolean {
  return /[0-9]/.test(text) && /[A-Z]/.test(text) && /[a-z]/.test(text);
}

/** Values whose name says that they are secret. */
function hideValues(text: string, values: Values): string {
  return secretTexts(values as Json, false).reduce((shown, secret) => shown.replaceAll(secret, "…"), text);
}

function secretTexts(value: Json, secret: boolean): string[] {
  if (typeof value === "string") return secret && value.length >= 4 ? [value, Buffer.from(value).toString("base64")] : [];
  if (Array.isArray(value)) return value.flatMap((item: Json) => secretTexts(item, secret));
  if (!isMap(value)) return [];
  return Object.entries(value).flatMap(([key, member]) => secretTexts(member, secret || /pass|secret|token|credential|private|api.?key/i.test(key)));
}
