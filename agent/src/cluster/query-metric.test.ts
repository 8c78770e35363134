import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { MetricQuestionSchema } from "@flotilla/proto/gen/link";
import { afterEach, describe, expect, it } from "vitest";
import { gateLimits } from "../limits.ts";
import { queryMetric } from "./query-metric.ts";

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  server = undefined;
});

/** Something on loopback that answers as `answer` has it. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const started = createServer(answer);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
}

const ask = (address: string, windowMs = 300_000, signal = new AbortController().signal) =>
  queryMetric(
    create(MetricQuestionSchema, { address, query: 'sum(rate(errors{job="web"}[1m]))', operator: "<", threshold: 0.01, window: durationFromMs(windowMs) }),
    signal,
  );
const matrix = (value: string) =>
  JSON.stringify({ status: "success", data: { resultType: "matrix", result: [{ metric: {}, values: [[1_700_000_000, value]] }] } });

describe("a metric gate", () => {
  it("asks for the window that ends now, in at most sixty steps, below the path of the address", async () => {
    let asked: URL | undefined;
    const address = await serve((request, response) => {
      asked = new URL(request.url ?? "", "http://x");
      response.end(matrix("0"));
    });
    expect(await ask(`${address}/prometheus/`, 3_600_000)).toEqual({ verdict: "passed", message: "1 samples are < 0.01, the last is 0" });
    expect(asked?.pathname).toBe("/prometheus/api/v1/query_range");
    const asks = Object.fromEntries(asked?.searchParams ?? []);
    expect(asks).toMatchObject({ query: 'sum(rate(errors{job="web"}[1m]))', step: "60" });
    expect(Number(asks.end) - Number(asks.start)).toBeCloseTo(3_600, 0);
    expect(Math.abs(Number(asks.end) - Date.now() / 1_000)).toBeLessThan(60);
    await ask(address, 60_000);
    expect(asked?.searchParams.get("step")).toBe("15");
  });

  it("fails when a sample does not meet its threshold", async () => {
    const address = await serve((_, response) => response.end(matrix("0.5")));
    expect(await ask(address)).toEqual({ verdict: "failed", message: "0.5 is not < 0.01 at 2023-11-14T22:13:20Z" });
  });

  it("passes on why Prometheus refuses a query", async () => {
    const address = await serve((_, response) => response.writeHead(400).end('{"status":"error","errorType":"bad_data","error":"1:5: parse error"}'));
    expect(await ask(address)).toMatchObject({ verdict: "unknown", message: expect.stringContaining("refuses the query: 1:5: parse error") });
  });

  it.each([
    [401, "it answers HTTP 401"],
    [500, "it answers HTTP 500"],
    [302, "it redirects (HTTP 302): give the address that it leads to"],
  ])("knows nothing of HTTP %i", async (status, message) => {
    let requests = 0;
    const address = await serve((_, response) => {
      requests += 1;
      response.writeHead(status, { location: "/elsewhere" }).end("no");
    });
    expect(await ask(address)).toEqual({ verdict: "unknown", message: `${new URL(address).host}: ${message}` });
    expect(requests).toBe(1);
  });

  it("reads no more of an answer than it may", async () => {
    const address = await serve((_, response) => {
      response.on("error", () => undefined);
      for (let i = 0; i < 3; i++) response.write(Buffer.alloc(gateLimits.metricAnswerBytes, 32));
    });
    expect(await ask(address)).toMatchObject({ verdict: "unknown", message: expect.stringContaining("let the query return fewer series") });
  });

  it("knows nothing of what cannot be reached, and says why", async () => {
    const address = await serve(() => undefined);
    await new Promise<void>((resolve) => server?.close(() => resolve()));
    server = undefined;
    expect(await ask(address)).toMatchObject({ verdict: "unknown", message: expect.stringContaining("ECONNREFUSED") });
    expect(await ask("file:///etc/passwd")).toMatchObject({ verdict: "unknown", message: expect.stringContaining("not an http or https address") });
    expect(await ask("prometheus:9090")).toMatchObject({ verdict: "unknown", message: expect.stringContaining("not an http or https address") });
  });

  it("ends when the agent does", async () => {
    const stop = new AbortController();
    const address = await serve(() => stop.abort());
    expect(await ask(address, 60_000, stop.signal)).toMatchObject({ verdict: "unknown", message: expect.stringContaining("the agent stops") });
  });

  it("neither sends nor shows a password in the address", async () => {
    const address = await serve((_, response) => response.writeHead(500).end());
    const verdict = await ask(address.replace("//", "//ann:secret@"));
    expect(verdict).toMatchObject({ verdict: "unknown", message: expect.stringContaining("a password in the address is not sent") });
    expect(verdict.message).not.toContain("secret");
  });
});
