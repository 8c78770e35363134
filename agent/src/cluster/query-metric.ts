import type { MetricQuestion } from "@flotilla/proto/gen/link";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { judgeSamples, type GateVerdict } from "../domain/judge-samples.ts";
import { gateLimits } from "../limits.ts";

/**
 * Asks a Prometheus API (GET /api/v1/query_range) about the window that ends now, from where the agent is. Whatever keeps it from an
 * answer is "unknown", and said. Never throws.
 */
export async function queryMetric({ address, query, operator, threshold, window }: MetricQuestion, signal: AbortSignal): Promise<GateVerdict> {
  const unknown = (message: string): GateVerdict => ({ verdict: "unknown", message: `${shown(address)}: ${message}` });
  const url = rangeUrl(address, query, window ? durationMs(window) : 0, Date.now());
  if (url === undefined) return unknown("it is not an http or https address");
  if (url.username !== "" || url.password !== "") return unknown("a password in the address is not sent: whoever reads the repository would have it");
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(gateLimits.metricAnswerMs)]);
    // A redirect would lead to where nobody wrote that the agent should ask.
    const response = await fetch(url, { redirect: "manual", signal: deadline, headers: { accept: "application/json" } });
    if (response.status >= 300 && response.status < 400) return unknown(`it redirects (HTTP ${response.status}): give the address that it leads to`);
    const body = await readBounded(response, gateLimits.metricAnswerBytes);
    if (body === undefined) return unknown(`its answer is over ${gateLimits.metricAnswerBytes} bytes: let the query return fewer series`);
    const answer = parsed(body);
    // Prometheus answers 400, 422 and 503 with JSON that says why.
    if (!response.ok && (answer as { status?: unknown } | undefined)?.status !== "error") return unknown(`it answers HTTP ${response.status}`);
    const verdict = judgeSamples(answer, { operator, value: threshold });
    return verdict.verdict === "unknown" ? unknown(verdict.message) : verdict;
  } catch (error) {
    if (signal.aborted) return unknown("the agent stops");
    const isLate = error instanceof Error && error.name === "TimeoutError";
    return unknown(isLate ? `no answer within ${gateLimits.metricAnswerMs / 1_000} s` : `it cannot be reached: ${causeOf(error)}`);
  }
}

function rangeUrl(address: string, query: string, windowMs: number, now: number): URL | undefined {
  const base = URL.parse(address);
  if (!base || (base.protocol !== "http:" && base.protocol !== "https:")) return undefined;
  const url = new URL(`${base.pathname.replace(/\/+$/, "")}/api/v1/query_range`, base);
  const stepMs = Math.max(gateLimits.metricStepMinMs, windowMs / gateLimits.metricSteps);
  for (const [name, value] of Object.entries({ query, start: (now - windowMs) / 1_000, end: now / 1_000, step: Math.round(stepMs / 1_000) }))
    url.searchParams.set(name, String(value));
  return url;
}

async function readBounded(response: Response, maxBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** Without what a user wrote before the "@". */
function shown(address: string): string {
  return URL.parse(address)?.host || address.slice(0, 100);
}

/** `fetch` hides what happened in its cause. */
function causeOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
}
