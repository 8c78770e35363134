/** Text of clusters and Git may hold escape sequences that would move a terminal's cursor: they are shown, not obeyed. */
export function cleanText(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
