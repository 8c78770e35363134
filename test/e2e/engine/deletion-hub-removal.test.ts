import { afterAll, beforeAll, expect, it } from "vitest";
import type { HeldRemovalAnswer } from "@flotilla/proto/rest/contract";
import type { GitRepository } from "../../harness/git-server.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";

/** Nine clusters that nobody enrolled beside one with an agent: the hub decides for all alike. */
const others = Array.from({ length: 9 }, (_, index) => `other-${index}`);
const some = ["real-1", "other-0", "other-1"];
const fleetYaml = (removal: string) => `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  removal: ${removal}
  bundles: [{ name: app }]
`;

await describeWith([...kubeTools, "nats-server"], "a fleet that would lose its clusters (fault 2)", () => {
  let platform: Platform;
  let repository: GitRepository;
  const api = () => platform.hub.api;
  const live = () => platform.member("real-1").kube.client.find("/api/v1/namespaces/default/configmaps/kept");
  const targets = async () => Object.fromEntries((await api().targets("shop")).map((row) => [row.cluster, row]));
  const held = async () => (await api().request<HeldRemovalAnswer>("GET", "/api/v1/fleets/shop/held-removal")).held;
  const flip = (clusters: readonly string[], value: string) => Promise.all(clusters.map((name) => api().labelCluster(name, { shop: value })));
  const deletes = async () =>
    (await platform.member("real-1").kube.auditedRequests()).filter(
      ({ verb, objectRef }) => verb === "delete" && objectRef?.resource === "configmaps" && objectRef?.namespace === "default",
    );

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "real-1", labels: { shop: "true" }, kube: { auditLog: true } }] });
    for (const name of others) await api().addCluster(name, { shop: "true" });
    repository = await platform.git.createRepository("shop");
    const revision = await repository.commit({
      "fleet.yaml": fleetYaml("{ policy: delete, grace: 1s }"),
      "app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: kept, namespace: default }\n",
    });
    await api().createFleet({ name: "shop", repository: repository.url, pollIntervalMs: 1_000 });
    await waitForValue(
      async () => ({ count: Object.keys(await targets()).length, real: (await targets())["real-1"] }),
      ({ count, real }) => count === 10 && real?.running?.revision === revision && real.sync === "Synced",
      { what: "the fleet on ten clusters", timeoutMs: 60_000 },
    );
  });
  afterAll(() => platform?.stop());

  it("removes nobody when a label flips on 30 % of them, adds whom it gained, and tells a person whom it is about", async () => {
    await flip(some, "false");
    await api().addCluster("gained-1", { shop: "true" });
    const answer = await waitForValue(held, (row) => row?.clusters.length === 3, { what: "the removal held" });
    expect(answer).toMatchObject({ policy: "delete", clusters: [...some].sort(), of: expect.any(Number) });
    await waitFor(async () => (await targets())["gained-1"] !== undefined, { what: "the cluster that it gained" });
    const [problem] = (await api().fleet("shop")).problems;
    for (const name of some) expect(problem?.message).toContain(name);
    // The grace of a second is long over: nobody left.
    const since = Date.parse((await targets())["real-1"]?.leaving?.since ?? "");
    await waitFor(() => Date.now() - since > 3_000, { what: "the grace to be over" });
    await api().sync("shop");
    const rows = await targets();
    for (const name of some) expect(rows[name]).toMatchObject({ wanted: { removing: false }, leaving: { at: null } });
    expect(await live()).toBeDefined();
    expect(await deletes()).toEqual([]);
  });

  it("removes nobody by a hub that starts anew", async () => {
    await platform.hub.kill9();
    await platform.hub.restart();
    // At once, instead of within its backoff of 30 s.
    await platform.member("real-1").agent.stop();
    await platform.member("real-1").agent.restart();
    await waitFor(async () => (await api().cluster("real-1")).hub !== null, { what: "the agent back", timeoutMs: 60_000 });
    await api().addCluster("gained-2", { shop: "true" });
    await waitFor(async () => (await targets())["gained-2"] !== undefined, { what: "the fleet followed again", timeoutMs: 60_000 });
    expect((await held())?.clusters).toEqual([...some].sort());
    for (const name of some) expect((await targets())[name]?.wanted.removing).toBe(false);
    expect(await deletes()).toEqual([]);
  });

  it("forgets it all when the label is set right", async () => {
    await flip(some, "true");
    await waitForValue(held, (row) => row === null, { what: "nothing held any more" });
    // With the second of three labels there are few enough to leave without a person: the third is set a moment later.
    await waitForValue(
      async () => {
        const rows = await targets();
        return some.map((name) => rows[name]?.leaving);
      },
      (leaving) => leaving.every((one) => one === null),
      { what: "nobody leaving" },
    );
    expect(await live()).toBeDefined();
  });

  it("lets one cluster go when its grace is over, by the policy of fleet.yaml", async () => {
    const revision = await repository.commit({ "fleet.yaml": fleetYaml("{ policy: orphan, grace: 2s }") });
    await waitFor(async () => (await targets())["real-1"]?.running?.revision === revision, { what: "the new policy", timeoutMs: 60_000 });
    await flip(["real-1"], "false");
    await waitFor(async () => (await targets())["real-1"]?.leaving?.at !== undefined, { what: "the time at which it leaves" });
    await waitFor(async () => (await targets())["real-1"] === undefined, { what: "the cluster out of the fleet", timeoutMs: 30_000 });
    expect(await live()).toBeDefined();
    expect(await deletes()).toEqual([]);
  });

  it("lets exactly those go that a person approved, and deletes what the policy says", async () => {
    await flip(["real-1"], "true");
    await waitFor(async () => (await targets())["real-1"]?.sync === "Synced", { what: "the cluster back in the fleet", timeoutMs: 60_000 });
    const revision = await repository.commit({ "fleet.yaml": fleetYaml("{ policy: delete, grace: 1h }") });
    await waitFor(async () => (await targets())["real-1"]?.running?.revision === revision, { what: "the new policy", timeoutMs: 60_000 });
    await flip(some, "false");
    const answer = await waitForValue(held, (row) => row?.clusters.length === 3, { what: "the removal held" });
    const stale = await api()
      .request("POST", "/api/v1/fleets/shop/removal-approvals", { digest: "0".repeat(64) })
      .catch((error: unknown) => (error as { status: number }).status);
    expect(stale).toBe(409);
    await api().request("POST", "/api/v1/fleets/shop/removal-approvals", { digest: answer?.digest, reason: "the test says so" });
    await waitFor(async () => (await live()) === undefined, { what: "the objects deleted", timeoutMs: 30_000 });
    await waitFor(async () => (await targets())["real-1"] === undefined, { what: "the cluster out of the fleet", timeoutMs: 30_000 });
    expect(Object.keys(await targets()).filter((name) => !some.includes(name)).length).toBe(9);
  });
});
