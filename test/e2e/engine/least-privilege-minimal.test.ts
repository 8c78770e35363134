import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { loadAll } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import type { KubeObject } from "../../harness/kube-client.ts";
import { scratchFolder } from "../../harness/scratch-folder.ts";
import { runService } from "../../harness/spawn-service.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { Change, Health, startEngine, SyncState, testTarget, type TestBundle, type TestEngine } from "../agent-fixture.ts";
import { createAccount } from "./account-kubeconfig.ts";

const files: Readonly<Record<string, string>> = {
  "fleet.yaml": `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: {}
  bundles:
    - { name: base, path: base }
    - { name: web, path: web, namespace: shop, dependsOn: [base], overlays: [{ clusters: { matchLabels: { env: prod } }, path: prod }] }
    - { name: tenant, path: tenant, namespace: tenant, serviceAccount: tenant/deployer }
`,
  "base/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { team: shop } }\n",
  "base/definition.yaml": `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: oxen.farm.example }
spec:
  group: farm.example
  scope: Namespaced
  names: { plural: oxen, singular: ox, kind: Ox }
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
`,
  "base/reader.yaml":
    "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: ox-reader }\nrules: [{ apiGroups: [farm.example], resources: [oxen], verbs: [get, list] }]\n",
  "web/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: config }\ndata: { a: '1' }\n",
  "prod/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: config }\ndata: { a: '2' }\n",
  "prod/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 0
  selector: { matchLabels: { app: web } }
  template: { metadata: { labels: { app: web } }, spec: { containers: [{ name: main, image: "example/app:1" }] } }
`,
  "prod/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: { name: key }\nstringData: { key: do-not-tell }\n",
  "prod/ox.yaml": "apiVersion: farm.example/v1\nkind: Ox\nmetadata: { name: one }\nspec: { horns: 2 }\n",
  "prod/role.yaml":
    "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: web }\nrules: [{ apiGroups: [''], resources: [endpoints], verbs: [get] }]\n",
  "prod/bindings.yaml": `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: web }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: web }
subjects: [{ kind: ServiceAccount, name: web, namespace: shop }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: viewers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ kind: ServiceAccount, name: web, namespace: shop }]
`,
  "tenant/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: theirs }\ndata: { a: '1' }\n",
};

const installFlags = [
  "agent",
  "install",
  "--hub",
  "hub.example.com:7422",
  "--ca-hash",
  "ab".repeat(32),
  "--token",
  "t",
  "--rbac",
  "minimal",
  "--cluster-labels",
  "env=prod",
];
const rbac = "/apis/rbac.authorization.k8s.io/v1";

let cluster: KubeCluster;
let agent: TestEngine;
let folder: string;
let granted: KubeObject[];
let bundles: TestBundle[];
let told: string;

/** Everything that `agent install` prints but its workload: what somebody with cluster-admin applies. */
async function grantPrinted(): Promise<void> {
  const printed = await runService("cli", { args: [...installFlags, "--for", join(folder, "fleet.yaml"), "--print"] });
  expect(printed.status, printed.output).toBe(0);
  told = printed.output;
  granted = (loadAll(printed.stdout) as KubeObject[]).filter(({ kind }) => /^(Namespace|Role|ClusterRole|RoleBinding|ClusterRoleBinding)$/.test(kind ?? ""));
  for (const object of granted) await cluster.client.apply(pathOf(object), object, "installer");
}

function pathOf({ kind = "", metadata }: KubeObject): string {
  if (kind === "Namespace") return `/api/v1/namespaces/${metadata.name}`;
  const place = metadata.namespace === undefined ? rbac : `${rbac}/namespaces/${metadata.namespace}`;
  return `${place}/${kind.toLowerCase()}s/${metadata.name}`;
}

async function render(): Promise<TestBundle[]> {
  const rendered = await runService("cli", { args: ["render", folder, "--cluster-labels", "env=prod", "-o", "json"] });
  expect(rendered.status, rendered.output).toBe(0);
  const { bundles: found } = JSON.parse(rendered.stdout) as { bundles: { name: string; objects: object[] }[] };
  return found.map(({ name, objects }) => ({
    name,
    objects,
    ...(name === "web" && { dependsOn: ["base"] }),
    ...(name === "tenant" && { serviceAccount: "tenant/deployer" }),
  }));
}

beforeAll(async () => {
  folder = await scratchFolder("minimal");
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  cluster = await startKubeCluster({ name: "minimal", auditLog: true, controllerManager: true });
  bundles = await render();
  await grantPrinted();
  const kubeconfig = await createAccount(cluster, "flotilla-system", "flotilla-agent");
  await createAccount(cluster, "tenant", "deployer");
  const rules = [{ apiGroups: [""], resources: ["configmaps"], verbs: ["create", "patch", "delete"] }];
  await cluster.client.create(`${rbac}/namespaces/tenant/roles`, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "deployer" },
    rules,
  });
  await cluster.client.create(`${rbac}/namespaces/tenant/rolebindings`, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "deployer" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "deployer" },
    subjects: [{ kind: "ServiceAccount", name: "deployer", namespace: "tenant" }],
  });
  agent = await startEngine(cluster, { kubeconfig });
});

afterAll(async () => {
  await agent?.stop();
  await cluster?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

const agentUser = "system:serviceaccount:flotilla-system:flotilla-agent";

/** What the agent was refused; that it may not list or watch all namespaces at once is how it learns to look into single ones. */
async function refusals(): Promise<string[]> {
  const requests = await cluster.auditedRequests();
  return requests
    .filter(({ user, responseStatus }) => user.username === agentUser && responseStatus?.code === 403)
    .filter(({ verb, objectRef }) => !((verb === "list" || verb === "watch") && objectRef?.namespace === undefined))
    .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
}

describe("an agent with `--rbac minimal`", () => {
  it("is told which rights it gets: Roles in namespaces, and the rest by name", () => {
    expect(told).toContain("rights: minimal");
    expect(told).toContain("  namespace shop: get, list, watch, create, patch, delete configmaps, secrets");
    expect(told).toContain("  namespace tenant: impersonate serviceaccounts named deployer");
    expect(told).toContain("ServiceAccount tenant/deployer needs, and is not given here:\n  namespace tenant: create, patch, delete configmaps");
    expect(told).toContain("note: the agent gets every right that ClusterRole ox-reader gives");
    expect(told).toContain("note: the agent may bind ClusterRole view");
    const wide = granted.find(({ kind }) => kind === "ClusterRole") as KubeObject;
    const resources = (wide.rules as { resources: string[] }[]).flatMap((rule) => rule.resources);
    expect(resources.sort()).toEqual(["clusterroles", "customresourcedefinitions", "namespaces", "oxen"]);
    expect(JSON.stringify(granted)).not.toMatch(/"\*"|cluster-admin|escalate/);
  });

  it("applies, reports, heals and prunes the whole fleet, and is refused nothing", async () => {
    await agent.sync(testTarget("shop", 1, bundles));
    await waitFor(() => agent.summary("shop")?.health === Health.CURRENT, { what: "health" });
    expect(agent.objects.get("Ox shop/one")).toMatchObject({ sync: SyncState.SYNCED, health: Health.CURRENT });
    expect(agent.objects.get("ConfigMap tenant/theirs")).toMatchObject({ sync: SyncState.SYNCED });
    await cluster.client.mergePatch("/api/v1/namespaces/shop/configmaps/config", { data: { a: "by hand" } });
    await agent.waitForEvent("DriftHealed", /ConfigMap shop\/config/);
    await cluster.client.delete("/api/v1/namespaces/shop/secrets/key");
    await agent.waitForEvent("DriftHealed", /Secret shop\/key/);
    const fewer = bundles.map((bundle) => ({ ...bundle, objects: bundle.objects.filter((object) => (object as KubeObject).kind !== "Ox") }));
    await agent.sync(testTarget("shop", 2, fewer));
    await waitFor(async () => !(await cluster.client.find("/apis/farm.example/v1/namespaces/shop/oxen/one")), { what: "the prune" });
    expect(await refusals()).toEqual([]);
    expect(agent.events.filter(({ reason }) => reason === "ApplyFailed").map(({ message }) => message)).toEqual([]);
  });

  it("fails on one object alone, with the rule to grant, when one rule is taken away", async () => {
    const role = granted.find(({ kind, metadata }) => kind === "Role" && metadata.namespace === "shop") as KubeObject;
    const rules = (role.rules as { resources: string[] }[]).map((rule) => ({
      ...rule,
      resources: rule.resources.filter((resource) => resource !== "secrets"),
    }));
    await cluster.client.apply(pathOf(role), { ...role, rules }, "installer");
    const changed = bundles.map((bundle) => ({
      ...bundle,
      objects: bundle.objects.map((object) => {
        const { kind, metadata } = object as KubeObject;
        if (kind === "Secret") return { ...object, stringData: { key: "do-not-tell-either" } };
        return kind === "ConfigMap" && metadata.namespace === "shop" ? { ...object, data: { a: "3" } } : object;
      }),
    }));
    await agent.accept(testTarget("shop", 3, changed));
    await waitFor(() => agent.objects.get("Secret shop/key")?.change === Change.FAILED, { what: "the refusal" });
    expect(agent.objects.get("Secret shop/key")?.message).toContain(
      'grant { apiGroups: [""], resources: ["secrets"], verbs: ["patch"] } in a Role of namespace shop to ServiceAccount flotilla-system/flotilla-agent',
    );
    await waitFor(async () => (await cluster.client.get("/api/v1/namespaces/shop/configmaps/config")).data.a === "3", { what: "the object beside it" });
    expect(JSON.stringify(agent.reports, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))).not.toContain("do-not-tell");
    await cluster.client.apply(pathOf(role), role, "installer");
    await waitFor(() => agent.objects.get("Secret shop/key")?.change === Change.CONFIGURED, { what: "the apply after the grant", timeoutMs: 40_000 });
  });
});
