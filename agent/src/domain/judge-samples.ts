/** What a metric must be. */
export interface Threshold {
  /** "<", "<=", ">", ">=", "==" or "!=". */
  readonly operator: string;
  readonly value: number;
}

/** What a gate says. "unknown": it could not be asked, and asking again may help. */
export interface GateVerdict {
  readonly verdict: "passed" | "failed" | "unknown";
  /** Why, in one line. */
  readonly message: string;
}

/** One series of a range query's matrix: its labels, and [unix seconds, value as text] (Prometheus HTTP API, "Range queries"). */
interface Series {
  readonly metric?: Readonly<Record<string, string>>;
  readonly values?: readonly (readonly [number, string])[];
}

const comparisons: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  "<": (left, right) => left < right,
  "<=": (left, right) => left <= right,
  ">": (left, right) => left > right,
  ">=": (left, right) => left >= right,
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
};

/**
 * Judges the answer of a range query: every sample of every series must compare so. Without a sample, or with one that is not a number
 * (0/0: nothing was counted), nothing is known.
 *
 * @param answer the parsed body of /api/v1/query_range.
 */
export function judgeSamples(answer: unknown, threshold: Threshold): GateVerdict {
  const compare = comparisons[threshold.operator];
  if (!compare) return { verdict: "unknown", message: `'${threshold.operator}' is no comparison` };
  const series = seriesOf(answer);
  if (typeof series === "string") return { verdict: "unknown", message: series };
  let samples = 0;
  let last: number | undefined;
  for (const { metric = {}, values = [] } of series) {
    for (const [time, text] of values) {
      const value = numberOf(text);
      const where = `at ${new Date(time * 1_000).toISOString().replace(".000Z", "Z")}${labelsOf(metric)}`;
      if (Number.isNaN(value)) return { verdict: "unknown", message: `the value is not a number ${where}` };
      if (!compare(value, threshold.value)) return { verdict: "failed", message: `${text} is not ${threshold.operator} ${threshold.value} ${where}` };
      samples += 1;
      last = value;
    }
  }
  if (last === undefined) return { verdict: "unknown", message: "the query has no value in the window" };
  return { verdict: "passed", message: `${samples} samples are ${threshold.operator} ${threshold.value}, the last is ${last}` };
}

function seriesOf(answer: unknown): readonly Series[] | string {
  const { status, error, data } = (answer ?? {}) as { status?: unknown; error?: unknown; data?: { resultType?: unknown; result?: unknown } };
  if (status === "error") return `Prometheus refuses the query: ${String(error).slice(0, 300)}`;
  if (status !== "success" || data?.resultType !== "matrix" || !Array.isArray(data.result)) return "the answer is not one of a Prometheus API";
  const isSeries = (one: unknown): one is Series => {
    const { values } = (one ?? {}) as Series;
    return Array.isArray(values) && values.every((sample) => Array.isArray(sample) && typeof sample[0] === "number" && typeof sample[1] === "string");
  };
  return data.result.every(isSeries) ? data.result : "the answer is not one of a Prometheus API";
}

/** Prometheus writes "+Inf", "-Inf" and "NaN". */
function numberOf(text: string): number {
  if (/^[+-]?Inf$/.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  return text.trim() === "" ? Number.NaN : Number(text);
}

const labelsShown = 4;

function labelsOf(metric: Readonly<Record<string, string>>): string {
  const labels = Object.entries(metric);
  if (labels.length === 0) return "";
  const shown = labels.slice(0, labelsShown).map(([name, value]) => `${name}="${String(value).slice(0, 60)}"`);
  return ` of {${shown.join(", ")}${labels.length > labelsShown ? ", …" : ""}}`;
}
