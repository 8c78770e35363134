/**
 * Adaptive concurrency against one API server: additive increase, multiplicative decrease. Grows by one for each full
 * round of answers that were not slow; halves on 429; shrinks by a quarter when answers get several times slower than the
 * best seen lately.
 */
export interface Concurrency {
  /** Requests allowed in flight. */
  readonly limit: number;
  /** Answers since the last change. */
  readonly answers: number;
  /** Slowly forgotten minimum, and short average, of the latency in milliseconds. */
  readonly bestMs: number;
  readonly averageMs: number;
}

/** What happened to one request. */
export type Outcome = { readonly kind: "answered"; readonly latencyMs: number } | { readonly kind: "throttled" };

/** RIG: on a small API server 8 to 16 in flight is the optimum; more only adds waiting. */
export const concurrencyStart = 8;
export const concurrencyMax = 16;

/** An average this many times the best, and at least slowMs, is a server that is falling behind; below it is only a queue. */
const slowFactor = 8;
const slowMs = 250;

export const startConcurrency: Concurrency = Object.freeze({ limit: concurrencyStart, answers: 0, bestMs: Infinity, averageMs: 0 });

/** The state after one request. */
export function adjustConcurrency(state: Concurrency, outcome: Outcome): Concurrency {
  if (outcome.kind === "throttled") return { ...state, limit: Math.max(1, Math.floor(state.limit / 2)), answers: 0 };
  const { latencyMs } = outcome;
  const bestMs = Math.min(latencyMs, state.bestMs === Infinity ? latencyMs : state.bestMs * 1.001);
  const averageMs = state.averageMs === 0 ? latencyMs : state.averageMs * 0.9 + latencyMs * 0.1;
  const answers = state.answers + 1;
  if (answers < state.limit) return { ...state, answers, bestMs, averageMs };
  const isSlow = averageMs > slowMs && averageMs > bestMs * slowFactor;
  const limit = isSlow ? Math.max(1, Math.floor(state.limit * 0.75)) : Math.min(concurrencyMax, state.limit + 1);
  return { limit, answers: 0, bestMs, averageMs };
}
