import { callUnary, linkClient } from "@flotilla/agent/link/hub-client";
import { idOnlyTracer, type StepTracer } from "@flotilla/agent/telemetry";
import { LinkService } from "@flotilla/proto/gen/link";
import { grpcService } from "@flotilla/proto/grpc";
import { credentials, makeGenericClientConstructor, Metadata } from "@grpc/grpc-js";
import { ROOT_CONTEXT, trace, type Context, type SpanOptions, type Tracer } from "@opentelemetry/api";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { waitFor } from "../harness/wait-for.ts";
import { type LinkRig, type Replica, startLinkRig } from "./link-rig.ts";

interface Started {
  readonly name: string;
  readonly parent: string | undefined;
  readonly traceId: string | undefined;
  isEnded: boolean;
  error: string | undefined;
}

let rig: LinkRig;
let hub: Replica;
const spans: Started[] = [];

/** Keeps what the hub starts; spans themselves do nothing. */
const recording = {
  startSpan(name: string, _options?: SpanOptions, parent: Context = ROOT_CONTEXT) {
    const above = trace.getSpanContext(parent);
    const started: Started = { name, parent: above?.spanId, traceId: above?.traceId, isEnded: false, error: undefined };
    spans.push(started);
    const span = trace.wrapSpanContext({ traceId: above?.traceId ?? "0".repeat(32), spanId: "0".repeat(16), traceFlags: 0 });
    return Object.assign(Object.create(span) as typeof span, {
      setStatus: ({ message }: { message?: string }) => void (started.error = message),
      end: () => void (started.isEnded = true),
    });
  },
} as unknown as Tracer;

beforeAll(async () => {
  rig = await startLinkRig();
  hub = await rig.replica({ tracer: recording });
});
beforeEach(() => void spans.splice(0));
afterAll(() => rig.stop());

/** A tracer of the agent's that remembers what it sent along. */
function tracerThatTells(): { readonly tracer: StepTracer; readonly sent: Map<string, string>; readonly errors: Map<string, string | undefined> } {
  const sent = new Map<string, string>();
  const errors = new Map<string, string | undefined>();
  const start: StepTracer["start"] = (name, ...rest) => {
    const span = idOnlyTracer.start(name, ...rest);
    sent.set(name, span.traceparent);
    return { ...span, end: (error) => void errors.set(name, error) };
  };
  return { tracer: { start, shutdown: () => Promise.resolve() }, sent, errors };
}

const parts = (traceparent: string | undefined) => ({ traceId: traceparent?.split("-")[1], parent: traceparent?.split("-")[2] });

describe("W3C trace context in gRPC metadata", () => {
  it("goes with the enrolment, the stream and the calls beside it, and the hub's spans are its children", async () => {
    const { tracer, sent, errors } = tracerThatTells();
    const identity = await rig.enrol(hub, "traced", { tracer });
    const agent = await rig.agent(identity, { tracer });
    await waitFor(() => agent.link.isConnected);
    await agent.link.renewCertificate();
    for (const method of ["EnrolmentService/Enrol", "LinkService/Connect", "LinkService/RenewCertificate"]) {
      const name = `/fleet.v1.${method}`;
      await waitFor(() => spans.some((span) => span.name === name && span.isEnded), { what: `the hub's span of ${name}` });
      // The newest try of a call is the one that was remembered.
      expect(spans.findLast((span) => span.name === name)).toMatchObject({ ...parts(sent.get(name)), error: undefined });
      expect(errors.get(name)).toBeUndefined();
    }
    await agent.stop();
  });

  it("ends the spans of both sides with the reason when a call is refused", async () => {
    const { tracer, errors } = tracerThatTells();
    const identity = await rig.enrol(hub, "traced-refused");
    const client = linkClient(identity, tracer);
    await expect(callUnary(client, "renewCertificate", { csr: new Uint8Array([1, 2, 3]) }, 5_000)).rejects.toThrow();
    client.close();
    const name = "/fleet.v1.LinkService/RenewCertificate";
    expect(errors.get(name)).toMatch(/request/);
    await waitFor(() => spans.find((span) => span.name === name)?.isEnded);
    expect(spans.find((span) => span.name === name)?.error).toMatch(/request/);
  });

  it.each(["", "junk", "00-zz-zz-01", `01-${"a".repeat(32)}-${"b".repeat(16)}-01`, `00-${"a".repeat(32)}-${"b".repeat(16)}-01\u00e9`.slice(0, 54)])(
    "takes a traceparent of %j for none, and answers all the same",
    async (traceparent) => {
      const identity = await rig.enrol(hub, "traced-odd");
      const Client = makeGenericClientConstructor(grpcService(LinkService), "LinkService");
      const { caPem, privateKeyPem, certificatePem, linkAddress } = identity;
      const client = new Client(linkAddress, credentials.createSsl(Buffer.from(caPem), Buffer.from(privateKeyPem), Buffer.from(certificatePem)), {
        "grpc.ssl_target_name_override": "hub.flotilla.internal",
      });
      const metadata = new Metadata();
      if (traceparent !== "") metadata.set("traceparent", traceparent);
      spans.splice(0);
      const error = await new Promise<Error | null>((resolve) => {
        const methods = client as unknown as Record<string, (request: unknown, metadata: Metadata, done: (error: Error | null) => void) => void>;
        methods.issueBrokerCredentials?.({ userPublicKey: "not a key" }, metadata, resolve);
      });
      client.close();
      expect(error?.message).toMatch(/INVALID_ARGUMENT/);
      expect(spans.map((span) => span.traceId)).toEqual([undefined]);
    },
  );
});
