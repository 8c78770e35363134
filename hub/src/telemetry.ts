import { monitorEventLoopDelay } from "node:perf_hooks";
import { context, trace, type Meter, type Span, type SpanContext, type Tracer } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

export interface Telemetry {
  readonly tracer: Tracer;
  readonly meter: Meter;
  /** Prometheus text format 0.0.4. */
  renderMetrics(): Promise<string>;
  shutdown(): Promise<void>;
}

/** Pulled by /metrics, never pushes. */
class ScrapedReader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

/**
 * Traces and metrics of the hub. Spans always get real ids, because the hub keeps its own record of them; they are
 * exported by OTLP only where OTEL_EXPORTER_OTLP_ENDPOINT says so.
 */
export function startTelemetry(options: { version: string; hubId: string; otlpEndpoint: string | undefined }): Telemetry {
  const resource = resourceFromAttributes({
    "service.name": "flotilla-hub",
    "service.version": options.version,
    "service.instance.id": options.hubId,
  });
  const exporters = options.otlpEndpoint === undefined ? [] : [new OTLPTraceExporter({ url: tracesUrl(options.otlpEndpoint) })];
  const traces = new TracerProvider({
    resource,
    spanProcessors: exporters.map((exporter) => new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1_000 })),
  });
  const reader = new ScrapedReader();
  const metrics = new MeterProvider({ resource, readers: [reader] });
  observeProcess(metrics.getMeter("flotilla"));
  const serializer = new PrometheusSerializer("flotilla", false, undefined, true, true);
  return {
    tracer: traces.getTracer("flotilla"),
    meter: metrics.getMeter("flotilla"),
    async renderMetrics() {
      const { resourceMetrics } = await reader.collect();
      return serializer.serialize(resourceMetrics);
    },
    async shutdown() {
      await Promise.allSettled([traces.shutdown(), metrics.shutdown()]);
    },
  };
}

/** What this process takes of its machine, by the names of OpenTelemetry's semantic conventions. */
function observeProcess(meter: Meter): void {
  const memory = (name: string, description: string, value: (usage: NodeJS.MemoryUsage) => number) =>
    meter.createObservableGauge(name, { description, unit: "By" }).addCallback((result) => result.observe(value(process.memoryUsage())));
  memory("process.memory.usage", "Resident memory of the hub.", ({ rss }) => rss);
  memory("v8js.memory.heap.used", "Memory that objects take, garbage among them.", ({ heapUsed }) => heapUsed);
  memory("v8js.memory.heap.committed", "Memory that the heap has of the system.", ({ heapTotal }) => heapTotal);
  memory("v8js.memory.external", "Memory of buffers.", ({ external }) => external);
  meter
    .createObservableCounter("process.cpu.time", { description: "CPU that the hub has used.", unit: "s" })
    .addCallback((result) => result.observe((process.cpuUsage().user + process.cpuUsage().system) / 1e6));
  const delays = monitorEventLoopDelay({ resolution: 20 });
  delays.enable();
  meter
    .createObservableGauge("nodejs.eventloop.delay.p99", {
      description: "How late the hub's event loop was since it was last asked: 99 % were sooner.",
      unit: "s",
    })
    .addCallback((result) => {
      result.observe(delays.percentile(99) / 1e9);
      delays.reset();
    });
}

function tracesUrl(endpoint: string): string {
  return `${endpoint.replace(/\/+$/, "")}/v1/traces`;
}

/** W3C `traceparent` of a span. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}

/** The span context that a `traceparent` names; undefined when it is not of version 00's form. */
export function parseTraceparent(traceparent: string | null | undefined): SpanContext | undefined {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "");
  if (match === null) return undefined;
  const [, traceId = "", spanId = "", flags = "00"] = match;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

/** The context whose parent is what a `traceparent` names, or a fresh one. */
export function contextOf(traceparent: string | null | undefined): ReturnType<typeof context.active> {
  const parent = parseTraceparent(traceparent);
  return parent === undefined ? context.active() : trace.setSpanContext(context.active(), parent);
}
