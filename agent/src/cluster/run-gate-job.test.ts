import { createServer, type IncomingHttpHeaders, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { GateCommandSchema, JobQuestionSchema } from "@flotilla/proto/gen/link";
import { afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../log.ts";
import { KubeClient } from "./kube-client.ts";
import { deleteGateJob, runGateJob } from "./run-gate-job.ts";

type Answer = readonly [status: number, body: object];
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body: { readonly metadata?: { readonly name?: string } };
}

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** An API server that answers as `answer` has it, and what it was asked. */
async function serve(answer: (asked: Asked, count: number) => Answer): Promise<{ client: KubeClient; asked: Asked[] }> {
  const asked: Asked[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => undefined);
  });
  server.on("stream", (stream, headers: IncomingHttpHeaders) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8");
      const one: Asked = { method: headers[":method"] ?? "", path: headers[":path"] ?? "", body: text === "" ? {} : JSON.parse(text) };
      asked.push(one);
      const [status, body] = answer(one, asked.filter(({ method }) => method === one.method).length);
      stream.respond({ ":status": status, "content-type": "application/json" });
      stream.end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = new KubeClient(
    {
      url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
      source: "test",
      serverName: undefined,
      insecureSkipVerify: false,
      tls: () => Promise.resolve({}),
      token: () => Promise.resolve("token"),
      renew: () => undefined,
    },
    silentLog,
  );
  closing.push(() => {
    client.close();
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { client, asked };
}

const gate = create(GateCommandSchema, { fleet: "shop", revision: "a".repeat(40), wave: "canary", gate: "smoke" });
const run = (client: KubeClient, { spec = "{}", timeoutMs = 10_000, signal = new AbortController().signal, id = "c1" } = {}) =>
  runGateJob(client, id, gate, create(JobQuestionSchema, { namespace: "shop", spec: Buffer.from(spec), timeout: durationFromMs(timeoutMs) }), signal);
const job = (condition?: string, more: object = {}) => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name: "gate-smoke-x", namespace: "shop", uid: "u1" },
  spec: {},
  status: condition ? { conditions: [{ type: condition, status: "True", ...more }] } : { active: 1 },
});
const refusal = (code: number, message: string): Answer => [code, { kind: "Status", apiVersion: "v1", status: "Failure", code, message, reason: "Refused" }];
const list: Answer = [200, { kind: "List", items: [] }];
const isLook = ({ method, path }: Asked): boolean => method === "GET" && path.includes("/jobs/");

describe("a Job gate", () => {
  it("makes the Job with its own marks and bounds, and deletes that one when it is complete", async () => {
    const { client, asked } = await serve(({ method }) => (method === "GET" ? [200, job("Complete")] : [201, job()]));
    expect(await run(client, { spec: '{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}' })).toMatchObject({ verdict: "passed" });
    const [made, ...others] = asked;
    expect(made).toMatchObject({ method: "POST", path: "/apis/batch/v1/namespaces/shop/jobs?fieldManager=flotilla-gate" });
    expect(made?.body).toMatchObject({
      metadata: {
        name: expect.stringMatching(/^gate-smoke-[0-9a-f]{10}$/),
        labels: { "flotilla.dev/gate": "smoke" },
        annotations: { "flotilla.dev/fleet": "shop", "flotilla.dev/revision": "a".repeat(40), "flotilla.dev/wave": "canary" },
      },
      spec: {
        activeDeadlineSeconds: 40,
        ttlSecondsAfterFinished: 3_600,
        backoffLimit: 0,
        template: { spec: { restartPolicy: "Never", containers: [{ name: "a", image: "b" }] } },
      },
    });
    expect(others.at(-1)).toMatchObject({ method: "DELETE", body: { propagationPolicy: "Background", preconditions: { uid: "u1" } } });
  });

  it("has one name for a command, and another for the next", async () => {
    const { client, asked } = await serve(({ method }) => (method === "GET" ? [200, job("Complete")] : [201, job()]));
    for (const id of ["c1", "c1", "c2"]) await run(client, { id });
    const [first, again, next] = asked.filter(({ method }) => method === "POST").map(({ body }) => body.metadata?.name);
    expect(again).toBe(first);
    expect(next).not.toBe(first);
  });

  it("is deleted by the name that its command gave it, with its pods; there may be none", async () => {
    const { client, asked } = await serve(({ method }) =>
      method === "GET" ? [200, job("Complete")] : method === "POST" ? [201, job()] : refusal(404, "not found"),
    );
    await run(client, { id: "c7" });
    await deleteGateJob(client, "c7", "smoke", "shop");
    const [made, ended] = [asked.find(({ method }) => method === "POST"), asked.at(-1)];
    expect(ended).toEqual({
      method: "DELETE",
      path: `/apis/batch/v1/namespaces/shop/jobs/${made?.body.metadata?.name}`,
      body: { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" },
    });
  });

  it("that may not be deleted is told", async () => {
    const { client } = await serve(() => refusal(403, 'jobs.batch "gate" is forbidden'));
    await expect(deleteGateJob(client, "c7", "smoke", "shop")).rejects.toThrow(/forbidden/);
  });

  it("waits for the Job that is there already", async () => {
    const { client } = await serve(({ method }) => (method === "POST" ? refusal(409, "already exists") : [200, job("Complete")]));
    expect(await run(client)).toMatchObject({ verdict: "passed" });
  });

  it("fails with the reason of the Job, and lets it be", async () => {
    const failed = job("Failed", { reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" });
    const { client, asked } = await serve((one) => (one.method === "POST" ? [201, job()] : isLook(one) ? [200, failed] : list));
    expect(await run(client)).toEqual({
      verdict: "failed",
      message: expect.stringMatching(/^Job shop\/gate-smoke-x failed: Failed=True \(BackoffLimitExceeded\): Job has reached/),
    });
    expect(asked.some(({ method }) => method === "DELETE")).toBe(false);
  });

  it("fails when it has not ended in time", async () => {
    const { client } = await serve((one) => (one.method === "POST" ? [201, job()] : isLook(one) ? [200, job()] : list));
    expect(await run(client, { timeoutMs: 300 })).toEqual({ verdict: "failed", message: expect.stringContaining("has not ended within 0.3 s: 1 pods active") });
  });

  it.each([
    ["the namespace is missing", refusal(404, 'namespaces "shop" not found'), 'namespaces "shop" not found'],
    ["rights are missing", refusal(403, 'jobs.batch is forbidden: User "agent" cannot create resource "jobs"'), "cannot create resource"],
    ["admission refuses it", refusal(400, 'admission webhook "policy.example.com" denied the request: no limits'), "denied the request: no limits"],
    ["its spec is wrong", refusal(422, "Job is invalid: spec.template.spec.containers: Required value"), "Required value"],
  ])("knows nothing when %s, and says so", async (_, refused, told) => {
    const { client, asked } = await serve(() => refused);
    expect(await run(client)).toEqual({ verdict: "unknown", message: expect.stringContaining(told) });
    expect(asked.filter(({ method }) => method === "POST")).toHaveLength(1);
  });

  it("knows nothing when somebody deletes the Job", async () => {
    const { client } = await serve(({ method }, count) => (method === "POST" ? [201, job()] : count === 1 ? [200, job()] : refusal(404, "not found")));
    expect(await run(client)).toEqual({ verdict: "unknown", message: expect.stringContaining("was deleted before it ended") });
  });

  it("waits for an API server that is away", async () => {
    const { client } = await serve(({ method }, count) => (method !== "GET" ? [201, job()] : count === 1 ? refusal(503, "away") : [200, job("Complete")]));
    expect(await run(client)).toMatchObject({ verdict: "passed" });
  });

  it("lets the Job run when the agent stops: the next process finds it", async () => {
    const stop = new AbortController();
    const { client, asked } = await serve(({ method }) => {
      if (method === "GET") stop.abort("the agent stops");
      return [method === "POST" ? 201 : 200, job()];
    });
    expect(await run(client, { signal: stop.signal })).toEqual({ verdict: "unknown", message: "the agent stops" });
    expect(asked.some(({ method }) => method === "DELETE")).toBe(false);
  });

  it("says when the spec cannot be read, and makes nothing", async () => {
    const { client, asked } = await serve(() => [500, {}]);
    expect(await run(client, { spec: "{" })).toEqual({ verdict: "unknown", message: "the Job's spec is not JSON" });
    expect(asked).toEqual([]);
  });
});
