const steps = [
  { unit: "d", ms: 86_400_000, from: 2 * 86_400_000 },
  { unit: "h", ms: 3_600_000, from: 2 * 3_600_000 },
  { unit: "m", ms: 60_000, from: 2 * 60_000 },
  { unit: "s", ms: 1_000, from: 0 },
] as const;

/** How long ago, as kubectl says it: `12s`, `5m`, `3h`, `8d`. A clock that is behind the hub's reads `0s`. */
export function ageOf(time: string | null, now: number): string {
  if (time === null) return "never";
  const ms = Math.max(0, now - Date.parse(time));
  const step = steps.find(({ from }) => ms >= from);
  return step ? `${Math.floor(ms / step.ms)}${step.unit}` : "0s";
}

/** The same in a sentence: `3m ago`, `never`. */
export function agoOf(time: string | null, now: number): string {
  return time === null ? "never" : `${ageOf(time, now)} ago`;
}
