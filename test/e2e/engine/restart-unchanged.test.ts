import { afterAll, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";
import { configMap, startEngine, SyncState, testTarget } from "../agent-fixture.ts";
import { agentRequests, countsOf } from "./proxied-cluster.ts";

await describeWith(kubeTools, "an agent that starts again with 5,000 unchanged objects", () => {
  let cluster: KubeCluster;
  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "restart-unchanged", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });

  it("writes nothing, and asks at most twenty times besides listing and watching what it keeps, in one bundle or in many", async () => {
    const account = (name: string) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: "default" } });
    const app = (i: number) => [configMap(`app-${i}`), account(`app-${i}`)];
    const one = Array.from({ length: 2_250 }, (_, i) => app(i)).flat();
    const many = Array.from({ length: 250 }, (_, i) => ({ name: `app-${10_000 + i}`, objects: app(10_000 + i) }));
    const target = testTarget("large", 1, [{ name: "one", objects: one }, ...many]);
    const first = await startEngine(cluster);
    await first.sync(target, 90_000);
    await first.waitForQuiet();
    // The audit log has everything that the first one sent.
    const patches = first.sent().PATCH ?? 0;
    await waitForValue(
      async () => (await agentRequests(cluster)).filter(({ verb }) => verb === "patch").length,
      (count) => count >= patches,
      { what: "the audit log" },
    );
    await first.stop();

    const since = Date.now();
    const second = await startEngine(cluster);
    const summary = await waitFor(() => (second.summary("large")?.objects === 5_000 ? second.summary("large") : undefined), { what: "the summary" });
    await waitFor(() => second.summary("large")?.sync === SyncState.SYNCED, { what: "the fleet in sync", timeoutMs: 30_000 });
    await second.waitForQuiet();
    const requests = await agentRequests(cluster, since);
    await second.stop();
    expect(summary.failed).toBe(0);
    expect(requests.filter(({ verb }) => !/^(get|list|watch)$/.test(verb))).toEqual([]);
    const ofKinds = requests.filter(
      ({ verb, objectRef }) => verb !== "get" && /^(configmaps|serviceaccounts)$/.test(objectRef?.resource ?? "") && !objectRef?.namespace,
    );
    // 2,500 of each kind, 100 a page, the last of which may be empty, and the watch of each.
    expect(ofKinds.length).toBeLessThanOrEqual(2 * (26 + 1));
    expect(requests.length - ofKinds.length, JSON.stringify(countsOf(requests))).toBeLessThanOrEqual(20);
  });
});
