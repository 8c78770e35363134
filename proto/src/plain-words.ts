/** Text of clusters and Git may hold escape sequences that would move a terminal's cursor: they are shown, not obeyed. */
export function cleanText(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** A length of time as people read it: `84 ms`, `1.84 s`, `2m 05s`. */
export function durationOf(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)} s`;
  return `${Math.floor(ms / 60_000)}m ${String(Math.floor((ms % 60_000) / 1_000)).padStart(2, "0")}s`;
}

const shortChars = 12;

/** The first 12 characters of a commit; `-` when there is none. */
export function shortRevision(revision: string | null | undefined): string {
  return revision ? revision.slice(0, shortChars) : "-";
}
