import { setTimeout as delay } from "node:timers/promises";

export interface WaitForOptions {
  /** What is waited for; begins the error's sentence. */
  what?: string;
  timeoutMs?: number;
  /** When left out: 50 ms at first, and a twentieth of the time that it takes, up to half a second. Most questions go to a server on the same cores. */
  everyMs?: number;
}

/**
 * Asks until the answer is neither undefined, null nor false, and returns it. A probe that throws counts as "not yet".
 * Past the deadline throws with the last answer or the last failure.
 */
export async function waitFor<T>(probe: () => T | Promise<T>, options: WaitForOptions = {}): Promise<NonNullable<Exclude<T, false>>> {
  const { what = "the condition", timeoutMs = 20_000, everyMs } = options;
  const began = Date.now();
  const deadline = began + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== null && answer !== false) return answer as NonNullable<Exclude<T, false>>;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) throw new Error(`${what} did not come within ${timeoutMs} ms; last: ${shown(last)}`, { cause: last });
    await delay(everyMs ?? Math.min(500, Math.max(50, (Date.now() - began) / 20)));
  }
}

/** Like `waitFor`, for values that must be looked at: the error shows the last value that did not pass. */
export async function waitForValue<T>(read: () => T | Promise<T>, passes: (value: T) => boolean, options: WaitForOptions = {}): Promise<T> {
  let last: unknown = "nothing read";
  const seen = await waitFor(async () => {
    last = undefined;
    const value = await read();
    last = value;
    return passes(value) ? { value } : undefined;
  }, options).catch((error: unknown) => {
    if (last === undefined) throw error;
    throw new Error(`${options.what ?? "the value"} did not come within ${options.timeoutMs ?? 20_000} ms; last: ${shown(last)}`, { cause: error });
  });
  return seen.value;
}

function shown(value: unknown): string {
  if (value instanceof Error) return value.message;
  const text = typeof value === "string" ? value : JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? `${part}n` : part));
  return (text ?? String(value)).slice(0, 2_000);
}
