import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it, describe } from "vitest";
import { startJaeger } from "../harness/jaeger.ts";
import { findRunProcesses, runVariable } from "../harness/run-processes.ts";
import { describeWith } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

await describeWith(["jaeger"], "the tracing backend of the harness", () => {
  it("gives back the trace it was sent", async () => {
    const jaeger = await startJaeger();
    try {
      const traceId = "0af7651916cd43dd8448eb211c80319c";
      const span = {
        traceId,
        spanId: "b7ad6b7169203331",
        name: "fetch",
        kind: 1,
        startTimeUnixNano: `${Date.now()}000000`,
        endTimeUnixNano: `${Date.now() + 5}000000`,
      };
      const resource = { attributes: [{ key: "service.name", value: { stringValue: "hub" } }] };
      const response = await fetch(`${jaeger.otlpEndpoint}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans: [span] }] }] }),
      });
      expect(response.status).toBe(200);
      const trace = await waitFor(() => jaeger.readTrace(traceId), { what: "the trace" });
      expect(trace.spans.map(({ operationName }) => operationName)).toEqual(["fetch"]);
      expect(Object.values(trace.processes)[0]?.serviceName).toBe("hub");
    } finally {
      await jaeger.stop();
    }
  });
});

describe("what a test run leaves behind", () => {
  it("is found by its mark, however it was started", async () => {
    const run = `mark-${process.pid}`;
    const child = spawn("sh", ["-c", "sleep 30 & wait"], { env: { ...process.env, [runVariable]: run }, detached: true });
    await waitFor(async () => (await findRunProcesses(run)).length === 2, { what: "both processes" });
    process.kill(-(child.pid ?? 0), "SIGKILL");
    await once(child, "exit");
    await waitFor(async () => (await findRunProcesses(run)).length === 0, { what: "their end" });
  });
});
