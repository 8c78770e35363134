import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";

await describeWith(kubeTools, "drift: fights and churn", () => {
  let cluster: KubeCluster;
  let agent: TestEngine;
  const path = (name: string) => `/api/v1/namespaces/default/configmaps/${name}`;
  /** Writes that were taken: a conflict is answered before it is forced. */
  const patches = async (name: string) =>
    (await cluster.auditedRequests()).filter(
      ({ verb, userAgent, objectRef, requestURI, responseStatus }) =>
        verb === "patch" && userAgent === "flotilla-agent" && objectRef?.name === name && !requestURI.includes("dryRun") && responseStatus?.code === 200,
    ).length;

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "drift-fights", auditLog: true });
  });
  afterAll(() => cluster.stop());
  beforeEach(async () => {
    agent = await startEngine(cluster);
  });
  afterEach(() => agent.stop());

  it("fault 6: a fight is bounded by five corrections of its object, told once with both sides' names and values, and delays no heal of another object", async () => {
    const names = Array.from({ length: 10 }, (_, i) => `bystander-${i}`);
    await agent.sync(testTarget("fight", 1, [{ name: "web", objects: ["fought", ...names].map((name) => configMap(name)) }]));
    const applied = await patches("fought");
    const stop = new AbortController();
    let value = 0;
    const rival = (async () => {
      while (!stop.signal.aborted) {
        if ((await cluster.client.get(path("fought"))).data.a === "1")
          await cluster.client.mergePatch(`${path("fought")}?fieldManager=rival`, { data: { a: `rival ${value++}` } });
        await delay(20);
      }
    })();
    // The rival is at it while every other object is edited, once each: the first, the fourth, the tenth edit of the bundle wait for nothing.
    await waitFor(() => value > 1, { what: "the fight" });
    for (const name of names) {
      await cluster.client.mergePatch(`${path(name)}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
      await waitFor(async () => (await cluster.client.get(path(name))).data.a === "1", { what: `the heal of ${name}`, timeoutMs: 1_000, everyMs: 10 });
    }
    const fight = await agent.waitForEvent("Fight", /fought/, 30_000);
    expect(fight.message).toMatch(/at \/data\/a Git says "1", "rival" writes "rival \d+"/);
    stop.abort();
    await rival;
    expect((await patches("fought")) - applied).toBe(5);
    expect(agent.events.filter(({ reason }) => reason === "Fight")).toHaveLength(1);
    expect(agent.events.filter(({ reason, message }) => reason === "DriftDetected" && /fought.*within ten minutes/.test(message)).length).toBe(4);
    await waitFor(() => /fight: corrected 5 times/.test(agent.objects.get("ConfigMap default/fought")?.message ?? ""));
    // The other side gives in: in sync again, without a write.
    await cluster.client.mergePatch(`${path("fought")}?fieldManager=rival`, { data: { a: "1" } });
    await waitFor(() => agent.objects.get("ConfigMap default/fought")?.message === "", { what: "the end of the fight" });
  });

  it("writes down corrections together, and nothing while nothing changes", async () => {
    const names = Array.from({ length: 20 }, (_, i) => `noted-${i}`);
    await agent.sync(testTarget("noted", 1, [{ name: "web", objects: names.map((name) => configMap(name)) }]));
    await agent.waitForQuiet();
    const writes = async () =>
      (await cluster.auditedRequests()).filter(
        ({ verb, objectRef }) =>
          !["get", "list", "watch"].includes(verb) && objectRef?.name === "flotilla-order-noted" && objectRef.namespace === "flotilla-system",
      ).length;
    expect(await writes()).toBe(0);
    await Promise.all(names.map((name) => cluster.client.mergePatch(`${path(name)}?fieldManager=kubectl-edit`, { data: { a: "by hand" } })));
    await waitFor(() => agent.events.filter(({ reason }) => reason === "DriftHealed").length === names.length, { what: "the heals" });
    await agent.waitForQuiet();
    const noted = await writes();
    expect(noted).toBeGreaterThan(0);
    expect(noted).toBeLessThan(names.length / 2);
    await agent.stop();
    agent = await startEngine(cluster);
    await waitFor(() => agent.summary("noted") !== undefined, { what: "the next agent has looked" });
    await agent.waitForQuiet();
    expect(await writes()).toBe(noted);
  });

  it("heals edits of different fields at once: they are no pattern", async () => {
    await agent.sync(testTarget("edits", 1, [{ name: "web", objects: [configMap("edited", { a: "1", b: "1", c: "1", d: "1" })] }]));
    for (const field of ["a", "b", "c", "d"]) {
      await cluster.client.mergePatch(`${path("edited")}?fieldManager=kubectl-edit`, { data: { [field]: "by hand" } });
      await waitFor(async () => (await cluster.client.get(path("edited"))).data[field] === "1", {
        what: `the heal of ${field}`,
        timeoutMs: 1_000,
        everyMs: 10,
      });
    }
    expect(agent.events.filter(({ message }) => /within ten minutes/.test(message))).toEqual([]);
  });

  it("fault 7: what others write into fields of their own, ten times a second on fifty objects, costs no request at all", async () => {
    const names = Array.from({ length: 50 }, (_, i) => `churned-${i}`);
    await agent.sync(testTarget("churn", 1, [{ name: "web", objects: names.map((name) => configMap(name)) }]));
    await agent.waitForQuiet();
    const [sent, reports] = [agent.sent(), agent.reports.length];
    for (let round = 0; round < 10; round++) {
      await Promise.all(
        names.map((name) => cluster.client.mergePatch(`${path(name)}?fieldManager=leader-election`, { metadata: { annotations: { holder: String(round) } } })),
      );
    }
    // A drift of ours that comes after all of them has come and gone when it is healed: the watch has told everything before it.
    await cluster.client.mergePatch(`${path("churned-0")}?fieldManager=kubectl-edit`, { data: { a: "by hand" } });
    await agent.waitForEvent("DriftHealed", /churned-0/);
    await agent.waitForQuiet();
    const after = agent.sent();
    // The one heal: a read, an apply, the inventory, and that it was corrected.
    expect((after.GET ?? 0) - (sent.GET ?? 0)).toBe(1);
    expect((after.PATCH ?? 0) - (sent.PATCH ?? 0)).toBeLessThanOrEqual(3);
    expect(agent.reports.length - reports).toBeLessThanOrEqual(3);
  });

  it("a fight goes on counting when the agent is killed in its middle, again and again (G16)", async () => {
    await agent.sync(testTarget("killed", 1, [{ name: "web", objects: [configMap("killed")] }]));
    await agent.waitForQuiet();
    const applied = await patches("killed");
    const edit = (value: number) => cluster.client.mergePatch(`${path("killed")}?fieldManager=rival`, { data: { a: `rival ${value}` } });
    let corrected = 0;
    for (let round = 0; round < 8; round++) {
      await edit(round);
      const isOver = () => agent.events.some(({ reason }) => reason === "Fight");
      await waitFor(async () => isOver() || (await cluster.client.get(path("killed"))).data.a === "1", {
        what: `an answer to edit ${round}`,
        timeoutMs: 20_000,
        everyMs: 10,
      });
      if (isOver()) break;
      corrected += 1;
      await waitFor(() => agent.events.filter(({ reason }) => reason === "DriftHealed").length > 0, { what: "the correction is told" });
      // A single correction is written with others, a moment later; all further ones before they are told. Nothing that comes after is written.
      if (corrected === 1) await agent.waitForQuiet();
      agent.client.close();
      await agent.stop();
      agent = await startEngine(cluster);
      await waitFor(() => agent.summary("killed") !== undefined, { what: "the next agent has looked" });
    }
    expect((await patches("killed")) - applied).toBe(5);
    expect(corrected).toBe(5);
    await waitFor(() => /fight: corrected 5 times/.test(agent.objects.get("ConfigMap default/killed")?.message ?? ""), { what: "the fight is shown" });
  });
});
