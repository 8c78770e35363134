import { parseDuration } from "./parse-duration.ts";

/**
 * A moment: RFC 3339 (without an offset UTC), a date (its beginning, UTC), or a duration from now on.
 *
 * @returns RFC 3339, UTC.
 * @throws Error that says what it takes.
 */
export function parseTime(input: string, now: number): string {
  if (/^\d{4}-\d{2}-\d{2}/.test(input)) {
    const hasTime = input.length > 10;
    const text = !hasTime ? `${input}T00:00:00Z` : /(Z|[+-]\d{2}:\d{2})$/i.test(input) ? input : `${input}Z`;
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return new Date(at).toISOString();
  } else if (/^\d/.test(input)) {
    return new Date(now + parseDuration(input)).toISOString();
  }
  throw new Error("it takes a time such as 2026-12-27T08:00Z or 2026-12-27, or a duration from now on such as 4h");
}
