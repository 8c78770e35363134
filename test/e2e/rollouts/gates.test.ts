import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { RolloutStatus } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Forge, forgeOf } from "../../harness/forge.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeToolsWithControllers } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const clusters = ["canary-1", "eu-1"];
const jobs = "/apis/batch/v1/namespaces/default/jobs";

/** What a Job of this image does: the harness' kubelet runs "example/ok", cannot pull what has "fail" in its name, and ends what has "crash" with exit code 1. */
const fleetFile = (address: string, image: string, suspend = false, namespace = "default", restImage = "") => `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles: [{ name: web, path: web }]
  rollout:
    waves:
      - name: canary
        clusters: { matchLabels: { tier: canary } }
        after:
          metrics:
            - { name: errors, address: "${address}", query: 'sum(rate(errors[1m]))', threshold: "< 0.01", window: 1m }
          jobs:
            - name: smoke
              namespace: ${namespace}
              timeout: 20s
              spec: { suspend: ${suspend}, template: { spec: { containers: [{ name: smoke, image: "${image}" }] } } }
      - name: rest
${restImage === "" ? "" : `        after: { jobs: [{ name: smoke, namespace: default, timeout: 1m, spec: { template: { spec: { containers: [{ name: smoke, image: "${restImage}" }] } } } }] }`}
`;
const configMap = (value: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web, namespace: default }\ndata: { value: "${value}" }\n`;

interface JobSeen {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

await describeWith([...kubeToolsWithControllers, "nats-server"], "gates that agents answer in their clusters", () => {
  let platform: Platform;
  let forge: Forge;
  let prometheus: Server;
  let address = "";
  /** What the query has as its value; "": nothing. */
  let metric = "0";
  let asked = 0;
  let first = "";

  beforeAll(async () => {
    prometheus = createServer((_, response) => {
      asked += 1;
      const result = metric === "" ? [] : [{ metric: {}, values: [[Math.floor(Date.now() / 1_000), metric]] }];
      response.setHeader("content-type", "application/json").end(JSON.stringify({ status: "success", data: { resultType: "matrix", result } }));
    });
    await new Promise<void>((resolve) => prometheus.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(prometheus.address() as AddressInfo).port}`;
    platform = await startPlatform({
      clusters: clusters.map((name) => ({ name, labels: { shop: "true", tier: name.split("-")[0] ?? "" }, kube: { controllerManager: true, kubelet: true } })),
    });
    const repository = await platform.git.createRepository("shop");
    first = await repository.commit({ "fleet.yaml": fleetFile(address, "example/ok"), "web/web.yaml": configMap("1") }, { message: "First" });
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  }, 180_000);
  afterAll(async () => {
    await platform?.stop();
    prometheus?.closeAllConnections();
    prometheus?.close();
  });

  const status = (): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");
  const until = (what: string, holds: (now: RolloutStatus) => boolean, timeoutMs = 90_000): Promise<RolloutStatus> =>
    waitForValue(status, holds, { what, timeoutMs, everyMs: 100 });
  const ended = (revision: string, phase: string) =>
    until(`the rollout of ${revision.slice(0, 12)} ${phase}`, ({ rollout }) => rollout?.revision === revision && rollout.phase === phase);
  const wanted = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await platform.hub.api.targets("shop")).map((row) => [row.cluster, row.wanted.revision]));
  const push = async (value: string, image: string, suspend = false, namespace = "default", restImage = ""): Promise<string> =>
    (await forge.push({ "fleet.yaml": fleetFile(address, image, suspend, namespace, restImage), "web/web.yaml": configMap(value) }, { message: value }))
      .revision;
  const seen = async (cluster: string): Promise<readonly JobSeen[]> =>
    ((await platform.member(cluster).kube.client.find(jobs)) as unknown as { items: readonly JobSeen[] }).items;

  it("let a revision go on when the metric is good and the Job has ended well; the Job is gone then", async () => {
    await ended(first, "Done");
    const { rollout } = await status();
    expect(rollout?.gates.map(({ name, verdict }) => `${name} ${verdict}`).sort()).toEqual(["errors passed", "smoke passed"]);
    expect(asked).toBeGreaterThan(0);
    await waitForValue(
      () => seen("canary-1"),
      (found) => found.length === 0,
      { what: "the Job is deleted", timeoutMs: 20_000 },
    );
    // Nobody asks clusters of a wave that has no gate.
    expect(await seen("eu-1")).toEqual([]);
  }, 120_000);

  it("bring it back when a Job fails, with the cluster and the reason, and leave that Job to be looked at", async () => {
    const bad = await push("2", "example/fail");
    const { rollout } = await ended(bad, "RolledBack");
    expect(rollout?.failure?.message).toMatch(/^canary-1: Job default\/gate-smoke-[0-9a-f]{10} has not ended within 20 s: .*ImagePullBackOff/);
    expect(await wanted()).toEqual({ "canary-1": first, "eu-1": first });
    const [job, ...others] = await seen("canary-1");
    expect(others).toEqual([]);
    expect(job?.metadata.labels?.["flotilla.dev/gate"]).toBe("smoke");
    // It is nobody's object: neither drift nor pruned.
    await platform.converged("shop", first, { clusters: 2 });
    expect((await seen("canary-1")).map(({ metadata }) => metadata.uid)).toEqual([job?.metadata.uid]);
  }, 150_000);

  it("bring it back when the metric is bad, and say which value", async () => {
    metric = "0.25";
    const bad = await push("3", "example/ok");
    const { rollout } = await ended(bad, "RolledBack");
    expect(rollout?.failure?.message).toMatch(/^canary-1: 0\.25 is not < 0\.01 at /);
  }, 120_000);

  it("hold it while nobody knows the metric, and say why", async () => {
    metric = "";
    const revision = await push("4", "example/ok");
    const { rollout } = await until("it says that there is no value", ({ rollout: now }) => now?.reason.includes("has no answer yet") ?? false);
    expect(rollout).toMatchObject({ revision, phase: "Running" });
    expect(rollout?.reason).toMatch(/metric gate errors has no answer yet \(canary-1: 127\.0\.0\.1:\d+: the query has no value in the window\)/);
    expect((await wanted())["eu-1"]).toBe(first);
    expect(rollout?.until).not.toBeNull();
    metric = "0";
  }, 120_000);

  it("hold it while a Job cannot be made, and say why", async () => {
    const revision = await push("6", "example/ok", false, "nowhere");
    const { rollout } = await until("it says that there is no such namespace", ({ rollout: now }) => now?.reason.includes("nowhere") ?? false);
    expect(rollout).toMatchObject({ revision, phase: "Running" });
    expect(rollout?.reason).toMatch(/job gate smoke has no answer yet \(canary-1: Job nowhere\/gate-smoke-[0-9a-f]{10}: namespaces "nowhere" not found\)/);
  }, 120_000);

  it("go on with the Job that runs when the agent is killed in the middle, and run no second one", async () => {
    const { kube, agent } = platform.member("canary-1");
    // Suspended, it does not end before we say so.
    const revision = await push("5", "example/ok", true);
    const isRunning = ({ metadata }: JobSeen): boolean => metadata.annotations?.["flotilla.dev/revision"] === revision;
    const [running] = await waitForValue(
      () => seen("canary-1").then((found) => found.filter(isRunning)),
      (found) => found.length === 1,
      { what: "the Job of the gate", timeoutMs: 60_000 },
    );
    await agent.kill9();
    await agent.restart();
    await waitForValue(
      () => platform.hub.api.cluster("canary-1"),
      ({ phase }) => phase === "Connected",
      { what: "the agent is back", timeoutMs: 60_000 },
    );
    expect((await seen("canary-1")).filter(isRunning).map(({ metadata }) => metadata.uid)).toEqual([running?.metadata.uid]);
    await kube.client.mergePatch(`${jobs}/${running?.metadata.name}`, { spec: { suspend: false } });
    await ended(revision, "Done");
  }, 150_000);

  it("delete the Job whose answer nobody waits for any more, when a newer commit comes and when a person aborts", async () => {
    const jobOf = (revision: string, there: number) =>
      waitForValue(
        async () => (await seen("canary-1")).filter(({ metadata }) => metadata.annotations?.["flotilla.dev/revision"] === revision),
        (found) => found.length === there,
        { what: `${there} Jobs for ${revision.slice(0, 12)}`, timeoutMs: 60_000 },
      );
    // Suspended, they would stay until their deadline.
    const left = await push("8", "example/ok", true);
    await jobOf(left, 1);
    const aborted = await push("9", "example/ok", true);
    await jobOf(left, 0);
    await jobOf(aborted, 1);
    await platform.hub.api.request("POST", "/api/v1/fleets/shop/rollout/abort", {});
    await jobOf(aborted, 0);
    const next = await push("10", "example/ok");
    await ended(next, "Done");
  }, 150_000);

  it("bring both waves back when the Job of the second one ends badly, with what its pod said", async () => {
    const before = await wanted();
    const bad = await push("7", "example/ok", false, "default", "example/crash");
    const { rollout } = await ended(bad, "RolledBack");
    expect(rollout?.gates.map(({ wave, name, verdict }) => `${wave} ${name} ${verdict}`).sort()).toEqual([
      "0 errors passed",
      "0 smoke passed",
      "1 smoke failed",
    ]);
    expect(rollout?.failure?.message).toMatch(/^eu-1: Job default\/gate-smoke-[0-9a-f]{10} failed: Failed=True \(BackoffLimitExceeded\): .*exit code 1/);
    expect(await wanted()).toEqual(before);
    expect(await seen("eu-1")).toHaveLength(1);
  }, 150_000);
});
