import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgeOf } from "../harness/forge.ts";
import { type Jaeger, startJaeger } from "../harness/jaeger.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";

let jaeger: Jaeger;
let platform: Platform;

beforeAll(async () => {
  jaeger = await startJaeger();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpEndpoint };
  platform = await startPlatform({ clusters: [{ name: "one" }, { name: "two" }], hubEnv: env, agentEnv: env });
});

afterAll(async () => {
  await platform?.stop();
  await jaeger?.stop();
});

describe("one trace per revision", () => {
  it("reaches a tracing backend whole: the hub's steps, and every agent's under the same trace", async () => {
    const repository = await platform.git.createRepository("traced");
    const first = await repository.commit({ "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: traced, namespace: default }\n" });
    const { webhook } = await platform.hub.api.createFleet({ name: "traced", repository: repository.url, selector: {} });
    await platform.converged("traced", first);
    const forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    const { revision } = await forge.push({ "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: traced, namespace: default }\ndata: { a: b }\n" });
    await platform.converged("traced", revision);
    const { traceId } = await platform.hub.api.trace("traced", revision);
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);

    const wanted = ["fetch", "render", "place", "release", "send", "send", "receive", "receive", "plan", "plan", "apply", "apply", "healthy", "healthy"].sort();
    const spanNames = async () => ((await jaeger.readTrace(traceId ?? ""))?.spans ?? []).map(({ operationName }) => operationName).sort();
    const countOf = (names: string[], name: string) => names.filter((one) => one === name).length;
    await waitForValue(spanNames, (names) => wanted.every((name) => countOf(names, name) >= countOf(wanted, name)), {
      what: "the whole trace in Jaeger",
      timeoutMs: 60_000,
    });
    const trace = await jaeger.readTrace(traceId ?? "");
    const services = new Set(Object.values(trace?.processes ?? {}).map(({ serviceName }) => serviceName));
    expect(services).toEqual(new Set(["flotilla-hub", "flotilla-agent"]));
    const ids = new Set(trace?.spans.map(({ spanID }) => spanID));
    const orphans = trace?.spans.filter(({ references }) => references.some((reference) => !ids.has(reference.spanID)));
    expect(orphans).toEqual([]);
  });
});
