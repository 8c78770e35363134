import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ObjectRow } from "@flotilla/proto/rest/contract";
import { startAgent } from "../harness/agent-process.ts";
import type { GitChanges, GitRepository } from "../harness/git-server.ts";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

const rbac = "/apis/rbac.authorization.k8s.io/v1";
const configMaps = "/api/v1/namespaces/default/configmaps";

let platform: Platform;
let limited: KubeCluster;
const stops: (() => Promise<void>)[] = [];

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "whole", labels: { rights: "all" } }] });
  limited = await startKubeCluster({ name: "limited" });
  stops.unshift(() => limited.stop());
  const stateDir = join(platform.folder, "agent-limited");
  await mkdir(stateDir);
  const kubeconfig = await limitedKubeconfig(limited);
  const agent = await startAgent({
    api: platform.hub.api,
    enrolment: await platform.hub.api.addCluster("limited", { rights: "few" }),
    cluster: { ...limited, kubeconfig },
    stateDir,
    folder: platform.folder,
  });
  stops.unshift(() => agent.stop());
});

afterAll(async () => {
  for (const stop of stops) await stop();
  await platform?.stop();
});

/** A kubeconfig of somebody who may hold ConfigMaps in `default`, and what deploy/agent/state-rights.yaml gives in the agent's own namespace. */
async function limitedKubeconfig(cluster: KubeCluster): Promise<string> {
  const { client } = cluster;
  const subjects = [{ kind: "ServiceAccount", name: "limited", namespace: "flotilla-system" }];
  const group = "rbac.authorization.k8s.io";
  const rules = (namespace: string, name: string, granted: object[]) =>
    Promise.all([
      client.create(`${rbac}/namespaces/${namespace}/roles`, { apiVersion: `${group}/v1`, kind: "Role", metadata: { name }, rules: granted }),
      client.create(`${rbac}/namespaces/${namespace}/rolebindings`, {
        apiVersion: `${group}/v1`,
        kind: "RoleBinding",
        metadata: { name },
        roleRef: { apiGroup: group, kind: "Role", name },
        subjects,
      }),
    ]);
  await client.create("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "flotilla-system" } });
  await client.create("/api/v1/namespaces/flotilla-system/serviceaccounts", { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "limited" } });
  await rules("flotilla-system", "state", [{ apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["*"] }]);
  await rules("default", "config-maps", [{ apiGroups: [""], resources: ["configmaps"], verbs: ["*"] }]);
  // Its own namespace it may look at; and what it applies it watches across namespaces, by label.
  await client.create(`${rbac}/clusterroles`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name: "limited" },
    rules: [
      { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] },
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] },
    ],
  });
  await client.create(`${rbac}/clusterrolebindings`, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "limited" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "limited" },
    subjects,
  });
  const { status } = await client.create("/api/v1/namespaces/flotilla-system/serviceaccounts/limited/token", {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: {},
  });
  const kubeconfig = join(platform.folder, "limited-kubeconfig");
  const text = await readFile(cluster.kubeconfig, "utf8");
  await writeFile(kubeconfig, text.replaceAll(cluster.token, status.token as string), { mode: 0o600 });
  return kubeconfig;
}

async function fleetOf(name: string, rights: "all" | "few", changes: GitChanges): Promise<{ repository: GitRepository; revision: string }> {
  const repository = await platform.git.createRepository(name);
  const revision = await repository.commit(changes);
  await platform.hub.api.createFleet({ name, repository: repository.url, selector: { matchLabels: { rights } } });
  return { repository, revision };
}

/** The object's row once it tells that it was not applied. */
async function failureOf(fleet: string, kind: string): Promise<ObjectRow> {
  const rows = await waitForValue(
    () => platform.hub.api.objects({ fleet, kind }),
    (found) => found.some(isRefused),
    { what: `the refusal of the ${kind} of fleet ${fleet}`, timeoutMs: 60_000 },
  );
  return rows.find(isRefused) as ObjectRow;
}

function isRefused(row: ObjectRow): boolean {
  return row.change === "failed" && row.message !== "";
}

async function synced(fleet: string, name: string): Promise<void> {
  await waitForValue(
    () => platform.hub.api.objects({ fleet, name }),
    ([row]) => row?.sync === "Synced",
    { what: `object ${name} of fleet ${fleet}`, timeoutMs: 60_000 },
  );
}

const configMap = (name: string, value = "1") =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}" }\n`;

describe("objects that a cluster refuses", () => {
  it("for want of rights fail alone, with verb and resource, and are applied when the rights are granted", async () => {
    const { revision } = await fleetOf("few-rights", "few", {
      "a.yaml": configMap("allowed"),
      "b.yaml": configMap("allowed-too"),
      "secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: { name: refused, namespace: default }\nstringData: { password: do-not-tell }\n",
      "role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: refused }\nrules: []\n",
    });
    await synced("few-rights", "allowed");
    await synced("few-rights", "allowed-too");
    const role = await failureOf("few-rights", "ClusterRole");
    expect(role.message).toMatch(/cannot patch resource "clusterroles" in API group "rbac\.authorization\.k8s\.io"/);
    const secret = await failureOf("few-rights", "Secret");
    expect(secret.message).toMatch(/cannot patch resource "secrets"/);
    expect(JSON.stringify(secret)).not.toContain("do-not-tell");
    const events = await platform.hub.api.events({ fleet: "few-rights", reason: "ApplyFailed" });
    expect(events.map(({ cluster }) => cluster)).toContain("limited");
    await limited.client.create(`${rbac}/clusterrolebindings`, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "limited-no-more" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "limited", namespace: "flotilla-system" }],
    });
    await platform.converged("few-rights", revision, { clusters: 1, timeoutMs: 90_000 });
  });

  it("too large for etcd are told with file and size before any cluster sees them, and the last good revision stays", async () => {
    const { repository, revision } = await fleetOf("too-large", "all", { "small.yaml": configMap("beside-a-large-one") });
    await platform.converged("too-large", revision, { clusters: 1 });
    await repository.commit({ "maps/large.yaml": configMap("large", "x".repeat(1_700_000)) });
    const { problems, revision: kept } = await waitForValue(
      () => platform.hub.api.fleet("too-large"),
      (fleet) => fleet.problems.length > 0,
      { what: "the large object told" },
    );
    expect(problems).toEqual([
      expect.objectContaining({ file: "maps/large.yaml", message: expect.stringMatching(/1700\d{3} bytes; Kubernetes stores at most/) }),
    ]);
    expect(kept).toBe(revision);
  });

  it("by an admission policy are told in the policy's words, and applied when it allows them", async () => {
    const { client } = platform.member("whole").kube;
    const policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    await client.create(policies, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: "needs-a-team" },
      spec: {
        failurePolicy: "Fail",
        matchConstraints: { resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] }] },
        matchConditions: [{ name: "guarded", expression: "object.metadata.name.startsWith('guarded')" }],
        validations: [{ expression: "'team' in object.metadata.?labels.orValue({})", message: "every guarded ConfigMap names its team" }],
      },
    });
    await client.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: "needs-a-team" },
      spec: { policyName: "needs-a-team", validationActions: ["Deny"] },
    });
    // A policy holds some moments after it was made.
    await waitFor(
      async () => {
        const probe = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "guarded-probe" } };
        return client.create(`${configMaps}?dryRun=All`, probe).then(
          () => false,
          (error: Error) => error.message.includes("names its team"),
        );
      },
      { what: "the policy in force" },
    );
    const { repository } = await fleetOf("guarded", "all", { "a.yaml": configMap("guarded"), "b.yaml": configMap("not-guard") });
    expect((await failureOf("guarded", "ConfigMap")).message).toContain("every guarded ConfigMap names its team");
    await synced("guarded", "not-guard");
    const allowed = configMap("guarded").replace("namespace: default", "namespace: default, labels: { team: a }");
    const revision = await repository.commit({ "a.yaml": allowed });
    await platform.converged("guarded", revision, { clusters: 1, timeoutMs: 60_000 });
  });

  it("because their kind is not there yet are told, tried again, and applied when the definition appears", async () => {
    const { client } = platform.member("whole").kube;
    const { revision } = await fleetOf("early", "all", {
      "a.yaml": configMap("beside-an-early-one"),
      "ship.yaml": "apiVersion: harbour.example.com/v1\nkind: Ship\nmetadata: { name: early, namespace: default }\nspec: { masts: 3 }\n",
    });
    await synced("early", "beside-an-early-one");
    expect((await failureOf("early", "Ship")).message).toMatch(/harbour\.example\.com\/v1.*Ship|Ship.*harbour\.example\.com\/v1/);
    const schema = { type: "object", properties: { spec: { type: "object", properties: { masts: { type: "integer" } } } } };
    await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "ships.harbour.example.com" },
      spec: {
        group: "harbour.example.com",
        names: { kind: "Ship", plural: "ships", singular: "ship" },
        scope: "Namespaced",
        versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    });
    await platform.converged("early", revision, { clusters: 1, timeoutMs: 90_000 });
  });

  it("whose fields another owner applies stay its, and both names are told", async () => {
    const { client } = platform.member("whole").kube;
    const theirs = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "contested" },
      data: { value: "theirs" },
    };
    await client.apply(`${configMaps}/contested`, theirs, "elsewhere-agent");
    const { repository } = await fleetOf("latecomer", "all", { "a.yaml": configMap("contested", "ours"), "b.yaml": configMap("uncontested") });
    await synced("latecomer", "uncontested");
    const row = await failureOf("latecomer", "ConfigMap");
    expect(row.message).toMatch(/contested: "elsewhere-agent" holds .*\.data\.value/);
    expect((await client.get(`${configMaps}/contested`)).data).toEqual({ value: "theirs" });
    const revision = await repository.commit({ "a.yaml": null });
    await platform.converged("latecomer", revision, { clusters: 1, timeoutMs: 60_000 });
    expect((await client.get(`${configMaps}/contested`)).data).toEqual({ value: "theirs" });
  });

  it("that another inventory claims are left alone, and whose they are is told", async () => {
    const { client } = platform.member("whole").kube;
    const theirs = configMap("claimed", "theirs").replace("name: claimed", 'name: claimed, annotations: { "flotilla.dev/owner": elsewhere/web }');
    await client.apply(`${configMaps}/claimed`, load(theirs) as object, "elsewhere-agent");
    await fleetOf("claimant", "all", { "a.yaml": configMap("claimed", "ours"), "b.yaml": configMap("unclaimed") });
    await synced("claimant", "unclaimed");
    const [row] = await waitForValue(
      () => platform.hub.api.objects({ fleet: "claimant", name: "claimed" }),
      (rows) => rows.some(({ message }) => message !== ""),
      { what: "the reason", timeoutMs: 30_000 },
    );
    expect(row).toMatchObject({ sync: "OutOfSync", change: "skipped", message: expect.stringMatching(/belongs to elsewhere\/web/) as string });
    expect((await client.get(`${configMaps}/claimed`)).data).toEqual({ value: "theirs" });
  });
});
