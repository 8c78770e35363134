import { SpanStatusCode, trace, type Context, type Span, type Tracer } from "@opentelemetry/api";
import { contextOf, traceparentOf } from "../telemetry.ts";

/** One step of a revision's path, as `fleet trace` prints it. */
export interface PhaseTime {
  readonly phase: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  /** Empty when it went well. */
  readonly error: string;
  readonly spanId: string;
}

/**
 * Times the steps of one revision: each is a span under the revision's root and a row of the hub's own record.
 * The root span ends when the hub's part does; what agents add later hangs under the same trace.
 */
export class PhaseRecorder {
  readonly #tracer: Tracer;
  readonly #root: Span;
  readonly #context: Context;
  readonly #phases: PhaseTime[] = [];

  constructor(tracer: Tracer, options: { fleet: string; revision: string; parent?: string | null; startedAt: Date }) {
    this.#tracer = tracer;
    const parent = contextOf(options.parent);
    this.#root = tracer.startSpan(
      "revision",
      { startTime: options.startedAt, attributes: { "flotilla.fleet": options.fleet, "flotilla.revision": options.revision } },
      parent,
    );
    this.#context = trace.setSpan(parent, this.#root);
  }

  get traceparent(): string {
    return traceparentOf(this.#root);
  }

  get traceId(): string {
    return this.#root.spanContext().traceId;
  }

  get phases(): readonly PhaseTime[] {
    return this.#phases;
  }

  /** A step that already happened, e.g. the fetch that several fleets share. */
  add(phase: string, startedAt: Date, endedAt: Date): void {
    const span = this.#tracer.startSpan(phase, { startTime: startedAt }, this.#context);
    span.end(endedAt);
    this.#phases.push({ phase, startedAt, endedAt, error: "", spanId: span.spanContext().spanId });
  }

  /** Run a step; `failed` tells the error of a result that is a value. */
  async run<T>(phase: string, step: (traceparent: string) => Promise<T>, failed: (result: T) => string = () => ""): Promise<T> {
    const startedAt = new Date();
    const span = this.#tracer.startSpan(phase, { startTime: startedAt }, this.#context);
    try {
      const result = await step(traceparentOf(span));
      this.#end(span, phase, startedAt, failed(result));
      return result;
    } catch (error) {
      this.#end(span, phase, startedAt, error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  end(error = ""): void {
    if (error !== "") this.#root.setStatus({ code: SpanStatusCode.ERROR, message: error });
    this.#root.end();
  }

  #end(span: Span, phase: string, startedAt: Date, error: string): void {
    const endedAt = new Date();
    if (error !== "") span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    span.end(endedAt);
    this.#phases.push({ phase, startedAt, endedAt, error, spanId: span.spanContext().spanId });
  }
}
