/**
 * Adaptive concurrency against one API server: additive increase, multiplicative decrease. Grows by one for each full
 * round of answers that were not slow; halves on 429, and then takes the number that was refused for a ceiling, which it tries to lift ever
 * more patiently; shrinks by a quarter when answers get several times slower than the best seen lately.
 */
export interface Concurrency {
  /** Requests allowed in flight. */
  readonly limit: number;
  /** What the server was seen to refuse is above this. */
  readonly ceiling: number;
  /** Full rounds at the ceiling before one more is tried. */
  readonly patience: number;
  /** Answers since the last change. */
  readonly answers: number;
  /** When a 429 last lowered the limit (ms): refusals of requests sent before are of the same burst. */
  readonly loweredAtMs: number;
  /** Slowly forgotten minimum, and short average, of the latency in milliseconds. */
  readonly bestMs: number;
  readonly averageMs: number;
}

/** What happened to one request. Times are of one clock, in milliseconds. */
export type Outcome =
  | { readonly kind: "answered"; readonly latencyMs: number }
  | { readonly kind: "throttled"; readonly sentAtMs: number; readonly atMs: number };

/** RIG: on a small API server 8 to 16 in flight is the optimum; more only adds waiting. */
export const concurrencyStart = 8;
export const concurrencyMax = 16;

/** An average this many times the best, and at least slowMs, is a server that is falling behind; below it is only a queue. */
const slowFactor = 8;
const slowMs = 250;

/** A ceiling is tried again after so many rounds at first, and at most after so many: each try that fails costs a pause of a second. */
const patienceMin = 16;
const patienceMax = 1_024;

export const startConcurrency: Concurrency = Object.freeze({
  limit: concurrencyStart,
  ceiling: concurrencyMax,
  patience: patienceMin,
  answers: 0,
  loweredAtMs: -Infinity,
  bestMs: Infinity,
  averageMs: 0,
});

/** The state after one request. */
export function adjustConcurrency(state: Concurrency, outcome: Outcome): Concurrency {
  if (outcome.kind === "throttled") return afterRefusal(state, outcome.sentAtMs, outcome.atMs);
  const { latencyMs } = outcome;
  const bestMs = Math.min(latencyMs, state.bestMs === Infinity ? latencyMs : state.bestMs * 1.001);
  const averageMs = state.averageMs === 0 ? latencyMs : state.averageMs * 0.9 + latencyMs * 0.1;
  const seen = { ...state, answers: state.answers + 1, bestMs, averageMs };
  if (seen.answers < seen.limit) return seen;
  const isSlow = averageMs > slowMs && averageMs > bestMs * slowFactor;
  if (isSlow) return { ...seen, answers: 0, limit: Math.max(1, Math.floor(state.limit * 0.75)) };
  if (state.limit < state.ceiling) return { ...seen, answers: 0, limit: state.limit + 1 };
  const mayLift = state.ceiling < concurrencyMax && seen.answers >= state.limit * state.patience;
  return mayLift ? { ...seen, answers: 0, limit: state.limit + 1, ceiling: state.ceiling + 1 } : seen;
}

function afterRefusal(state: Concurrency, sentAtMs: number, atMs: number): Concurrency {
  if (sentAtMs < state.loweredAtMs) return state;
  const ceiling = Math.max(1, state.limit - 1);
  const patience = Math.min(patienceMax, state.patience * 2);
  return { ...state, limit: Math.max(1, Math.floor(state.limit / 2)), ceiling, patience, answers: 0, loweredAtMs: atMs };
}
