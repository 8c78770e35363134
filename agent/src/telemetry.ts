import { randomBytes } from "node:crypto";

/** One timed step, as a span. */
export interface StepSpan {
  /** Hex; the same in the exporter, if there is one, and in reports. */
  readonly spanId: string;
  /** W3C trace context of this span, for whoever goes on with it. */
  readonly traceparent: string;
  /** @param endedAtMs epoch milliseconds; now when left out. */
  end(error?: string, endedAtMs?: number): void;
}

/** Records steps of the path inside the cluster as spans of the trace that the target came with. */
export interface StepTracer {
  /**
   * @param traceparent of the span above; "" begins a trace.
   * @param startedAtMs epoch milliseconds.
   */
  start(name: string, traceparent: string, attributes: Readonly<Record<string, string | number>>, startedAtMs: number): StepSpan;
  shutdown(): Promise<void>;
}

/** Without an exporter a span is only its id: the hub builds its tree from reports. */
export const idOnlyTracer: StepTracer = {
  start: (_name, parent) => {
    const spanId = randomBytes(8).toString("hex");
    const traceId = /^00-([0-9a-f]{32})-/.exec(parent)?.[1] ?? randomBytes(16).toString("hex");
    return { spanId, traceparent: `00-${traceId}-${spanId}-01`, end() {} };
  },
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
