import { StatusError } from "./kube-status.ts";
import { simulatedLimits } from "./simulated-limits.ts";

/** What a simulated cluster does to its clients. All of it is drawn from one seed. */
export interface FaultOptions {
  /** "published": lognormal with the median and p95 of simulated-limits.ts. */
  readonly writeLatency?: "published" | "none";
  /** Part of all requests that are answered 429, 0 to 1. */
  readonly throttled?: number;
  readonly seed?: number;
}

export interface Faults {
  /** Milliseconds that this write takes. */
  writeDelayMs(): number;
  /** A refusal that this request gets instead of an answer. */
  refusal(): StatusError | undefined;
}

/** 95 % of a normal distribution lie below this many standard deviations over its middle. */
const z95 = 1.6449;

export function faultsOf({ writeLatency = "none", throttled = 0, seed = 1 }: FaultOptions): Faults {
  const draw = mulberry32(seed);
  const sigma = Math.log(simulatedLimits.writeP95Ms / simulatedLimits.writeMedianMs) / z95;
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  return {
    writeDelayMs: () => (writeLatency === "none" ? 0 : simulatedLimits.writeMedianMs * Math.exp(sigma * normal())),
    refusal: () =>
      throttled > 0 && draw() < throttled
        ? new StatusError(429, "TooManyRequests", "too many requests, please try again later", { retryAfterSeconds: 1 })
        : undefined,
  };
}

function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
