const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a Go duration ("90s", "5m", "1h30m", "1.5h"); undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  if (text.length > 32 || !/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount = "0", unit = "ms"] of text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)) totalMs += Number(amount) * (unitMs[unit] ?? 0);
  return Math.round(totalMs);
}
