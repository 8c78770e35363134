import { randomBytes } from "node:crypto";

/** One timed step, as a span. */
export interface StepSpan {
  /** Hex; the same in the exporter, if there is one, and in reports. */
  readonly spanId: string;
  /** @param endedAtMs epoch milliseconds; now when left out. */
  end(error?: string, endedAtMs?: number): void;
}

/** Records steps of the path inside the cluster as spans of the trace that the target came with. */
export interface StepTracer {
  /** @param startedAtMs epoch milliseconds. */
  start(name: string, traceparent: string, attributes: Readonly<Record<string, string | number>>, startedAtMs: number): StepSpan;
  shutdown(): Promise<void>;
}

/** Without an exporter a span is only its id: the hub builds its tree from reports. */
export const idOnlyTracer: StepTracer = {
  start: () => ({ spanId: randomBytes(8).toString("hex"), end() {} }),
  shutdown: () => Promise.resolve(),
};

/**
 * The tracer that the environment asks for: OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set, and only then is the OpenTelemetry
 * SDK loaded (it costs memory that an idle agent should not take).
 */
export async function openTracer(env: NodeJS.ProcessEnv, attributes: Readonly<Record<string, string>>): Promise<StepTracer> {
  if (!env.OTEL_EXPORTER_OTLP_ENDPOINT && !env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return idOnlyTracer;
  const { openOtlpTracer } = await import("./otlp-tracer.ts");
  return openOtlpTracer(attributes);
}
