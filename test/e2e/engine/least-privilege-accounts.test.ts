import { DriftMode, RemovalPolicy } from "@flotilla/proto/gen/target";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuditedRequest, type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { Change, configMap, startEngine, testTarget, type TestEngine } from "../agent-fixture.ts";
import { agentAccount, createAccount, grant, grantState, readVerbs, writeVerbs } from "./account-kubeconfig.ts";

let cluster: KubeCluster;
let agent: TestEngine;
let kubeconfig: string;

const deployer = "system:serviceaccount:shop:deployer";
const itself = "system:serviceaccount:flotilla-system:flotilla-agent";

beforeAll(async () => {
  cluster = await startKubeCluster({ name: "accounts", auditLog: true });
  kubeconfig = await createAccount(cluster, "flotilla-system", "flotilla-agent");
  await grantState(cluster);
  // The agent itself may look and be the deployer, and write nothing.
  await grant(cluster, "shop", "look", [{ apiGroups: [""], resources: ["configmaps", "secrets"], verbs: readVerbs }], agentAccount);
  await createAccount(cluster, "shop", "deployer");
  const impersonate = { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["deployer"], verbs: ["impersonate"] };
  await grant(cluster, "shop", "impersonate", [impersonate], agentAccount);
  await grant(cluster, "shop", "deployer", [{ apiGroups: [""], resources: ["configmaps"], verbs: writeVerbs }], "shop/deployer");
  agent = await startEngine(cluster, { kubeconfig });
});

afterAll(async () => {
  await agent?.stop();
  await cluster?.stop();
});

const path = (name: string) => `/api/v1/namespaces/shop/configmaps/${name}`;

/** Requests about one object of the fleet that change something, or only would. */
async function writesOf(name: string): Promise<AuditedRequest[]> {
  const requests = await cluster.auditedRequests();
  return requests.filter(({ objectRef, verb, user }) => objectRef?.name === name && ["patch", "delete", "create"].includes(verb) && user.username === itself);
}

describe("a bundle's service account", () => {
  it("is who applies, heals and deletes, in the API server's own audit log, with the agent behind it", async () => {
    const serviceAccount = "shop/deployer";
    const both = [configMap("kept", { a: "1" }, "shop"), configMap("pruned", { a: "1" }, "shop")];
    await agent.sync(testTarget("by-account", 1, [{ name: "web", objects: both, serviceAccount }]));
    await cluster.client.mergePatch(path("kept"), { data: { a: "by hand" } });
    await agent.waitForEvent("DriftHealed", /ConfigMap shop\/kept/);
    await agent.sync(testTarget("by-account", 2, [{ name: "web", objects: both.slice(0, 1), serviceAccount }]));
    await waitFor(async () => !(await cluster.client.find(path("pruned"))), { what: "the prune" });
    const kept = await writesOf("kept");
    const pruned = await writesOf("pruned");
    expect(kept.map(({ verb }) => verb)).toEqual(expect.arrayContaining(["patch"]));
    expect(pruned.map(({ verb }) => verb)).toContain("delete");
    for (const request of [...kept, ...pruned]) {
      expect(request.impersonatedUser?.username).toBe(deployer);
      expect(request.impersonatedUser?.groups).toEqual(
        expect.arrayContaining(["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]),
      );
    }
    // Its own state, its reads and its watches are the agent's own.
    const own = (await cluster.auditedRequests()).filter(({ user, objectRef }) => user.username === itself && objectRef?.namespace === "flotilla-system");
    expect(own.length).toBeGreaterThan(0);
    expect(own.filter(({ impersonatedUser }) => impersonatedUser !== undefined)).toEqual([]);
    const watches = (await cluster.auditedRequests()).filter(({ verb, user }) => user.username === itself && (verb === "watch" || verb === "list"));
    expect(watches.filter(({ impersonatedUser }) => impersonatedUser !== undefined)).toEqual([]);
  });

  it("deletes what its bundle left behind, also when the bundle is gone, after a restart too", async () => {
    const web = { name: "web", objects: [configMap("orphan", { a: "1" }, "shop")], serviceAccount: "shop/deployer" };
    const other = { name: "other", objects: [configMap("stays", { a: "1" }, "shop")], serviceAccount: "shop/deployer" };
    await agent.sync(testTarget("left", 1, [web, other]));
    await agent.waitForQuiet();
    await agent.stop();
    agent = await startEngine(cluster, { kubeconfig });
    await agent.sync(testTarget("left", 2, [other]));
    await waitFor(async () => !(await cluster.client.find(path("orphan"))), { what: "the prune of a bundle that is gone" });
    expect((await writesOf("orphan")).at(-1)).toMatchObject({ verb: "delete", impersonatedUser: { username: deployer } });
  });

  it("is who runs and deletes hooks, also those of a removal, and who is asked in dry runs", async () => {
    const serviceAccount = "shop/deployer";
    const hook = (name: string, phase: string) => ({
      ...configMap(name, { a: "1" }, "shop"),
      metadata: { name, namespace: "shop", annotations: { "flotilla.dev/hook": phase, "flotilla.dev/hook-delete-policy": "succeeded" } },
    });
    const objects = [configMap("told", { a: "1" }, "shop"), hook("before", "pre"), hook("at-the-end", "pre-delete"), hook("after-the-end", "post-delete")];
    await agent.sync(testTarget("hooked", 1, [{ name: "web", objects, serviceAccount, driftMode: DriftMode.REPORT }]));
    await waitFor(async () => (await writesOf("before")).some(({ verb }) => verb === "delete"), { what: "the hook deleted, as its policy says" });
    await cluster.client.mergePatch(path("told"), { data: { a: "by hand" } });
    await agent.waitForEvent("DriftReported", /ConfigMap shop\/told/);
    const dryRuns = (await writesOf("told")).filter(({ requestURI }) => requestURI.includes("dryRun"));
    expect(dryRuns.length).toBeGreaterThan(0);
    await agent.accept(testTarget("hooked", 2, [], { tombstone: { policy: RemovalPolicy.DELETE, reason: "test" } }));
    await waitFor(() => agent.reports.some(({ fleet, removed }) => fleet === "hooked" && removed), { what: "the removal" });
    for (const name of ["before", "at-the-end", "after-the-end"])
      expect(
        (await writesOf(name)).map(({ verb }) => verb),
        name,
      ).toEqual(expect.arrayContaining(["patch", "delete"]));
    for (const name of ["told", "before", "at-the-end", "after-the-end"])
      for (const request of await writesOf(name)) expect(request.impersonatedUser?.username, `${request.verb} ${name}`).toBe(deployer);
  });

  it("that lacks a right fails on that object only, with the rule to grant, and is tried again when it is granted", async () => {
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "refused", namespace: "shop" }, stringData: { password: "do-not-tell" } };
    await agent.accept(
      testTarget("refused", 1, [{ name: "web", objects: [configMap("beside", { a: "1" }, "shop"), secret], serviceAccount: "shop/deployer" }]),
    );
    await waitFor(() => agent.objects.get("Secret shop/refused")?.change === Change.FAILED, { what: "the refusal" });
    await waitFor(() => agent.objects.get("ConfigMap shop/beside")?.change === Change.CREATED, { what: "the object beside it" });
    const { message } = agent.objects.get("Secret shop/refused") ?? { message: "" };
    expect(message).toContain(`User "${deployer}" cannot patch resource "secrets"`);
    expect(message).toContain(
      'grant { apiGroups: [""], resources: ["secrets"], verbs: ["patch"] } in a Role of namespace shop to ServiceAccount shop/deployer',
    );
    expect(JSON.stringify(agent.events.map((event) => event.message))).not.toContain("do-not-tell");
    await grant(cluster, "shop", "secrets", [{ apiGroups: [""], resources: ["secrets"], verbs: writeVerbs }], "shop/deployer");
    await waitFor(() => agent.objects.get("Secret shop/refused")?.change === Change.CREATED, { what: "the apply after the grant", timeoutMs: 40_000 });
  });

  it("that the agent may not be is told with the rule that lets it, and nothing is written in its own name instead", async () => {
    await createAccount(cluster, "shop", "stranger");
    await agent.accept(testTarget("stranger", 1, [{ name: "web", objects: [configMap("nobody", { a: "1" }, "shop")], serviceAccount: "shop/stranger" }]));
    await waitFor(() => agent.objects.get("ConfigMap shop/nobody")?.change === Change.FAILED, { what: "the refusal" });
    expect(agent.objects.get("ConfigMap shop/nobody")?.message).toContain(
      'grant { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["stranger"], verbs: ["impersonate"] } in a Role of namespace shop to ServiceAccount flotilla-system/flotilla-agent',
    );
    expect(await cluster.client.find(path("nobody"))).toBeUndefined();
  });
});
