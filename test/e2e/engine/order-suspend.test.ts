import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import { CommandSchema } from "@flotilla/proto/gen/link";
import { RemovalPolicy, WhenClosed } from "@flotilla/proto/gen/target";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, deployment, startEngine, SyncState, testTarget, type TestEngine } from "../agent-fixture.ts";

await describeWith(kubeTools, "suspensions, windows and selective sync", () => {
  let cluster: KubeCluster;
  const open: TestEngine[] = [];
  const start = async () => {
    const agent = await startEngine(cluster);
    open.push(agent);
    return agent;
  };
  const stop = async (agent: TestEngine) => {
    open.splice(open.indexOf(agent), 1);
    await agent.stop();
  };
  const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
  const dataOf = async (name: string) => (await cluster.client.find(path(name)))?.data as Record<string, string> | undefined;
  const edit = (name: string) => cluster.client.mergePatch(path(name), { data: { a: "edited" } });
  const writesTo = async (pattern: RegExp) =>
    (await cluster.auditedRequests()).filter(
      ({ verb, objectRef, requestURI }) =>
        !["get", "list", "watch"].includes(verb) && pattern.test(objectRef?.name ?? "") && objectRef?.namespace === "default" && !requestURI.includes("dryRun"),
    ).length;
  const suspension = { reason: "a migration", by: "ann", since: timestampFromMs(Date.now()) };
  const sync = (agent: TestEngine, value: { fleet: string; bundle?: string; objects?: string[]; force?: boolean }) =>
    agent.engine.command(create(CommandSchema, { id: crypto.randomUUID(), kind: { case: "sync", value } }));

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "order-suspend", auditLog: true });
  });
  afterEach(async () => {
    for (const engine of open.splice(0)) await engine.stop();
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("a suspended fleet is neither applied, pruned nor healed, over commits and restarts, and drift is shown; resumed it catches up", async () => {
    let agent = await start();
    await agent.sync(testTarget("s", 1, [{ name: "app", objects: [configMap("s-one"), configMap("s-gone")] }]));
    await agent.accept(testTarget("s", 2, [{ name: "app", objects: [configMap("s-one"), configMap("s-gone")] }], { suspension }));
    await waitFor(() => agent.reports.at(-1)?.generation === 2n, { what: "the suspension is taken in" });
    await edit("s-one");
    await waitFor(() => agent.objects.get("ConfigMap default/s-one")?.drift[0]?.path === "/data/a", { what: "the drift is shown" });
    expect(agent.events.map(({ reason }) => reason)).toContain("DriftReported");
    await agent.accept(testTarget("s", 3, [{ name: "app", objects: [configMap("s-one", { a: "2" }), configMap("s-new")] }], { suspension }));
    await waitFor(() => /suspended by ann: a migration/.test(agent.objects.get("ConfigMap default/s-new")?.message ?? ""), { what: "the reason is told" });
    expect(agent.summary("s")).toMatchObject({ sync: SyncState.OUT_OF_SYNC, message: expect.stringMatching(/suspended by ann: a migration/) as string });
    const before = await writesTo(/^s-/);
    await stop(agent);
    agent = await start();
    await waitFor(() => /suspended by ann/.test(agent.summary("s")?.message ?? ""), { what: "it is still suspended after a restart" });
    await agent.waitForQuiet();
    expect(await writesTo(/^s-/)).toBe(before);
    expect([await dataOf("s-one"), await dataOf("s-new")]).toEqual([{ a: "edited" }, undefined]);
    expect(await dataOf("s-gone")).toBeDefined();
    await agent.sync(testTarget("s", 4, [{ name: "app", objects: [configMap("s-one", { a: "2" }), configMap("s-new")] }]));
    expect([await dataOf("s-one"), await dataOf("s-new"), await dataOf("s-gone")]).toEqual([{ a: "2" }, { a: "1" }, undefined]);
  });

  it("a suspended bundle stops alone, also when Git no longer names it", async () => {
    const agent = await start();
    const one = { name: "one", objects: [configMap("b-one")] };
    await agent.sync(testTarget("b", 1, [one, { name: "two", objects: [configMap("b-two")] }]));
    await agent.accept(
      testTarget("b", 2, [
        { ...one, objects: [configMap("b-one", { a: "2" })] },
        { name: "two", suspension, objects: [configMap("b-two", { a: "2" })] },
      ]),
    );
    await waitFor(async () => (await dataOf("b-one"))?.a === "2", { what: "the other bundle" });
    await waitFor(() => /suspended by ann/.test(agent.objects.get("ConfigMap default/b-two")?.message ?? ""), { what: "the reason" });
    expect(await dataOf("b-two")).toEqual({ a: "1" });
    await agent.accept(testTarget("b", 3, [{ ...one, objects: [configMap("b-one", { a: "3" })] }], { suspendedBundles: { two: suspension } }));
    await waitFor(async () => (await dataOf("b-one"))?.a === "3", { what: "the target without the bundle" });
    await agent.waitForQuiet();
    expect(await dataOf("b-two")).toEqual({ a: "1" });
    await agent.sync(testTarget("b", 4, [{ ...one, objects: [configMap("b-one", { a: "3" })] }]));
    expect(await dataOf("b-two")).toBeUndefined();
  });

  it("a removal that would delete objects waits while it is suspended, over a restart too, and goes on when it is resumed", async () => {
    let agent = await start();
    await agent.sync(testTarget("leaves", 1, [{ name: "app", objects: [configMap("l-one"), configMap("l-two")] }]));
    const tombstone = { policy: RemovalPolicy.DELETE, reason: "the cluster leaves" };
    const told = () => /its objects are to be deleted: that waits, suspended by ann: a migration/.test(agent.summary("leaves")?.message ?? "");
    await agent.accept(testTarget("leaves", 2, [], { tombstone, suspension }));
    await waitFor(told, { what: "why it waits" });
    await stop(agent);
    agent = await start();
    await waitFor(told, { what: "why it waits, after a restart" });
    await agent.waitForQuiet();
    expect([await dataOf("l-one"), await dataOf("l-two")]).toEqual([{ a: "1" }, { a: "1" }]);
    await agent.accept(testTarget("leaves", 3, [], { tombstone }));
    await waitFor(() => agent.reports.some(({ fleet, removed }) => fleet === "leaves" && removed), { what: "the removal" });
    expect([await dataOf("l-one"), await dataOf("l-two")]).toEqual([undefined, undefined]);
  });

  it("a closed window holds back what is new and says until when; it opens by time alone, or by an override", async () => {
    const agent = await start();
    const local = (ms: number) => new Date(ms).toISOString().slice(0, 19);
    const closedUntil = (ms: number) => [{ deny: [{ timeZone: "UTC", from: "2020-01-01T00:00", to: local(ms) }] }];
    const opensAt = Math.ceil((Date.now() + 2_500) / 1_000) * 1_000;
    await agent.accept(testTarget("w", 1, [{ name: "app", syncWindows: closedUntil(opensAt), objects: [configMap("w-one")] }]));
    const told = new RegExp(`waits for its sync window until ${local(opensAt)}Z`);
    await waitFor(() => told.test(agent.summary("w")?.message ?? ""), { what: "the window is told" });
    expect(await dataOf("w-one")).toBeUndefined();
    await waitFor(() => dataOf("w-one"), { what: "the window opened", timeoutMs: 10_000 });
    expect(Date.now()).toBeGreaterThanOrEqual(opensAt);
    const far = closedUntil(Date.now() + 3_600_000);
    await agent.accept(testTarget("w", 2, [{ name: "app", syncWindows: far, objects: [configMap("w-one", { a: "2" })] }]));
    await waitFor(() => /waits for its sync window/.test(agent.objects.get("ConfigMap default/w-one")?.message ?? ""), { what: "closed again" });
    const windowOverride = { reason: "outage", by: "ann", until: timestampFromMs(Date.now() + 3_600_000) };
    await agent.sync(testTarget("w", 3, [{ name: "app", syncWindows: far, windowOverride, objects: [configMap("w-one", { a: "2" })] }]));
    expect(await dataOf("w-one")).toEqual({ a: "2" });
  });

  it("drift in a closed window is shown, and corrected only where that is allowed", async () => {
    const agent = await start();
    const closed = { deny: [{ timeZone: "UTC", from: "2020-01-01T00:00", to: "2099-01-01T00:00" }] };
    const bundle = (name: string) => ({ name, objects: [configMap(`d-${name}`)] });
    await agent.sync(testTarget("d", 1, [bundle("still"), bundle("healed")]));
    await agent.accept(
      testTarget("d", 2, [
        { ...bundle("still"), syncWindows: [closed] },
        { ...bundle("healed"), syncWindows: [{ ...closed, heal: true }] },
      ]),
    );
    await waitFor(() => agent.reports.at(-1)?.generation === 2n, { what: "the windows" });
    await edit("d-still");
    await edit("d-healed");
    await waitFor(async () => (await dataOf("d-healed"))?.a === "1", { what: "the heal" });
    await waitFor(() => agent.objects.get("ConfigMap default/d-still")?.drift.length === 1, { what: "the drift is shown" });
    expect(await dataOf("d-still")).toEqual({ a: "edited" });
    await agent.sync(testTarget("d", 3, [bundle("still"), bundle("healed")]));
    await waitFor(async () => (await dataOf("d-still"))?.a === "1", { what: "healed when the window is gone" });
  });

  it("a sync that is under way when its window closes is finished, or stopped where that is asked for; also after a restart", async () => {
    for (const [name, whenClosed] of [
      ["finish", WhenClosed.FINISH],
      ["stop", WhenClosed.STOP],
    ] as const) {
      let agent = await start();
      const closesAt = Math.ceil((Date.now() + 3_000) / 1_000) * 1_000;
      const window = { whenClosed, allow: [{ timeZone: "UTC", from: "2020-01-01T00:00", to: new Date(closesAt).toISOString().slice(0, 19) }] };
      const later = {
        ...configMap(`c-${name}-later`),
        metadata: { name: `c-${name}-later`, namespace: "default", annotations: { "flotilla.dev/stage": "1" } },
      };
      await agent.accept(testTarget(`c-${name}`, 1, [{ name: "app", syncWindows: [window], objects: [deployment(`c-${name}`), later] }]));
      await waitFor(() => /waits for stage 0/.test(agent.objects.get(`ConfigMap default/c-${name}-later`)?.message ?? ""), { what: "the sync is under way" });
      const deploymentPath = `/apis/apps/v1/namespaces/default/deployments/c-${name}`;
      await waitFor(() => cluster.client.find(deploymentPath), { what: "its first stage applied" });
      await waitFor(() => Date.now() > closesAt, { what: "the window closes" });
      await stop(agent);
      agent = await start();
      const { metadata } = await cluster.client.get(deploymentPath);
      const status = { observedGeneration: metadata.generation, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
      await cluster.client.mergePatch(`${deploymentPath}/status`, { status });
      if (name === "finish") await waitFor(() => dataOf("c-finish-later"), { what: "it is finished" });
      else {
        await waitFor(() => /waits for its sync window/.test(agent.summary("c-stop")?.message ?? ""), { what: "it is stopped" });
        await agent.waitForQuiet();
        expect(await dataOf("c-stop-later")).toBeUndefined();
      }
      await stop(agent);
    }
  });

  it("single objects are reconciled on demand: a failed one at once, an unchanged one with force, nothing else", async () => {
    const agent = await start();
    await agent.sync(testTarget("o", 1, [{ name: "app", objects: [configMap("o-one"), configMap("o-two")] }]));
    const writes = async () => [await writesTo(/^o-one$/), await writesTo(/^o-two$/)];
    const before = await writes();
    await sync(agent, { fleet: "o", bundle: "app", objects: ["ConfigMap/default/o-one"] });
    await agent.waitForQuiet();
    expect(await writes()).toEqual(before);
    await sync(agent, { fleet: "o", objects: ["ConfigMap/default/o-one"], force: true });
    await waitFor(async () => (await writes())[0] === (before[0] ?? 0) + 1, { what: "the forced apply" });
    await agent.waitForQuiet();
    expect(await writes()).toEqual([(before[0] ?? 0) + 1, before[1]]);
    await expect(sync(agent, { fleet: "o", objects: ["ConfigMap/default/nosuch"] })).rejects.toThrow(/nosuch is not in fleet o in this cluster/);
    await expect(sync(agent, { fleet: "o", bundle: "nosuch" })).rejects.toThrow(/has no bundle nosuch/);
  });

  it("a hook that failed runs again when a person asks for it", async () => {
    const agent = await start();
    const job = {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: "again", namespace: "default", annotations: { "flotilla.dev/hook": "pre" } },
      spec: { suspend: true, template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "example/job:1" }] } } },
    };
    await agent.accept(testTarget("h", 1, [{ name: "app", deadlines: { hook: { seconds: 1n } }, objects: [job, configMap("h-config")] }]));
    await agent.waitForEvent("HookFailed", /again/);
    const uid = (await cluster.client.get("/apis/batch/v1/namespaces/default/jobs/again")).metadata.uid;
    await sync(agent, { fleet: "h", objects: ["Job/default/again"] });
    await waitFor(async () => ![undefined, uid].includes((await cluster.client.find("/apis/batch/v1/namespaces/default/jobs/again"))?.metadata.uid), {
      what: "the hook is run again",
    });
  });
});
