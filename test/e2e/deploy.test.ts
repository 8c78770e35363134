import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findTool } from "@flotilla/hub/embedded/tools";
import { loadAll } from "js-yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type KubeCluster, startKubeCluster } from "../harness/kube-cluster.ts";
import { repositoryRoot } from "../harness/programs.ts";
import { expectNoServices, runService } from "../harness/spawn-service.ts";
import { describeWith, kubeToolsWithControllers } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

const values = { HUB_ADDRESS: "hub.example.com:7422", HUB_CA_HASH: "ab".repeat(32), CLUSTER_NAME: "berlin-1", ENROLMENT_TOKEN: "tok_one-time" };
const installFlags = ["--hub", values.HUB_ADDRESS, "--ca-hash", values.HUB_CA_HASH, "--cluster", values.CLUSTER_NAME, "--token", values.ENROLMENT_TOKEN];

interface Manifest {
  kind: string;
  metadata: { name: string };
}

const byName = (objects: Manifest[]) => objects.toSorted((a, b) => `${a.kind}/${a.metadata.name}`.localeCompare(`${b.kind}/${b.metadata.name}`));

await describeWith(["kustomize"], "deploy/agent", () => {
  it("is what `fleet agent install --print` prints, with the values filled in", async () => {
    const folder = await mkdtemp(join(tmpdir(), "flotilla-deploy-"));
    try {
      await cp(join(repositoryRoot, "deploy/agent"), folder, { recursive: true });
      for (const file of await readdir(folder)) {
        const text = await readFile(join(folder, file), "utf8");
        if (file === "kustomization.yaml") continue;
        await writeFile(
          join(folder, file),
          Object.entries(values).reduce((filled, [placeholder, value]) => filled.replaceAll(placeholder, value), text),
        );
      }
      const { stdout: built } = await promisify(execFile)(await findTool("kustomize"), ["build", folder]);
      const printed = await runService("cli", { args: ["agent", "install", ...installFlags, "--print"] });
      expect(printed.status, printed.output).toBe(0);
      expect(byName(loadAll(printed.stdout) as Manifest[])).toEqual(byName(loadAll(built) as Manifest[]));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("prints a List with -o json, with rights from a file instead of cluster-admin", async () => {
    const folder = await mkdtemp(join(tmpdir(), "flotilla-deploy-"));
    try {
      const rights = join(folder, "rights.yaml");
      await writeFile(
        rights,
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: narrow }\nroleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit }\nsubjects: [{ kind: ServiceAccount, name: flotilla-agent, namespace: flotilla-system }]\n",
      );
      const { stdout } = await runService("cli", { args: ["agent", "install", ...installFlags, "--rbac", rights, "-o", "json"] });
      const { items } = JSON.parse(stdout) as { items: Manifest[] };
      expect(items.filter(({ kind }) => kind === "ClusterRoleBinding").map(({ metadata }) => metadata.name)).toEqual(["narrow"]);
      await writeFile(rights, "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: odd }\n");
      const odd = await runService("cli", { args: ["agent", "install", ...installFlags, "--rbac", rights, "--print"] });
      expect(odd.status).toBe(2);
      expect(odd.output).toContain("a ConfigMap that is no RBAC object");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

await describeWith([...kubeToolsWithControllers, "kubectl"], "what deploy/ holds, on an API server that enforces Pod Security `restricted`", () => {
  let cluster: KubeCluster;
  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "deploy", controllerManager: true, kubelet: true, podSecurity: "restricted" });
  });
  afterAll(async () => {
    await expectNoServices();
    await cluster.stop();
  });

  const available = (namespace: string, name: string, replicas: number) =>
    waitFor(async () => (await cluster.client.get(`/apis/apps/v1/namespaces/${namespace}/deployments/${name}`)).status?.availableReplicas === replicas, {
      what: `${replicas} available pods of ${name}`,
    });

  it("really is restricted there", async () => {
    const pod = { metadata: { name: "lax" }, spec: { containers: [{ name: "main", image: "nginx:1" }] } };
    await expect(cluster.client.create("/api/v1/namespaces/default/pods", pod)).rejects.toThrow(/violates PodSecurity "restricted/);
  });

  it("runs the agent that `fleet agent install` applies, and installs again over itself", async () => {
    const args = ["agent", "install", ...installFlags, "--kubeconfig", cluster.kubeconfig, "--context", cluster.name, "--timeout", "60s"];
    const env = { HOME: "/nonexistent", XDG_STATE_HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" };
    const installed = await runService("cli", { args, env });
    expect(installed.status, installed.output).toBe(0);
    expect(installed.stdout).toContain("agent berlin-1 is available");
    expect(installed.output).toContain("the agent gets cluster-admin there");
    await available("flotilla-system", "flotilla-agent", 1);
    const again = await runService("cli", { args, env });
    expect(again.status, again.output).toBe(0);
  });

  it("says which rights it grants, and withdraws what it granted before when it is installed with less", async () => {
    const args = ["agent", "install", ...installFlags, "--kubeconfig", cluster.kubeconfig, "--context", cluster.name, "--no-wait"];
    const env = { HOME: "/nonexistent", XDG_STATE_HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent" };
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    const folder = await mkdtemp(join(tmpdir(), "flotilla-deploy-"));
    try {
      await writeFile(join(folder, "one.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: one, namespace: rights-a }\n");
      const minimal = await runService("cli", { args: [...args, "--rbac", "minimal", "--for", folder], env });
      expect(minimal.status, minimal.output).toBe(0);
      expect(minimal.output).toContain("rights: minimal\nthe agent gets:\n  namespace rights-a: get, list, watch, create, patch, delete configmaps");
      expect(minimal.output).toContain("clusterrolebinding/flotilla-agent withdrawn");
      expect(await cluster.client.find(`${rbac}/clusterrolebindings/flotilla-agent`)).toBeUndefined();
      expect(await cluster.client.find(`${rbac}/namespaces/rights-a/rolebindings/flotilla-agent-fleets`)).toBeDefined();
      await writeFile(join(folder, "fleet.yaml"), "apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: a }\nspec: { bundels: [] }\n");
      const broken = await runService("cli", { args: [...args, "--rbac", "minimal", "--for", join(folder, "fleet.yaml")], env });
      expect([broken.status, broken.output]).toEqual([1, expect.stringMatching(/does not render[^]*fleet\.yaml:4:\d+: error: unknown field 'bundels'/)]);
      const none = await runService("cli", { args: [...args, "--rbac", "none"], env });
      expect(none.output).toContain("rights: none but its own memory in flotilla-system");
      expect(none.output).toContain("role/flotilla-agent-fleets of namespace rights-a withdrawn");
      expect(await cluster.client.find(`${rbac}/namespaces/rights-a/rolebindings/flotilla-agent-fleets`)).toBeUndefined();
      expect(await cluster.client.find(`${rbac}/namespaces/flotilla-system/roles/flotilla-agent`)).toBeDefined();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    const wrong = await runService("cli", { args: [...args, "--rbac", "minimal"], env });
    expect([wrong.status, wrong.output]).toEqual([2, expect.stringContaining("give --for DIR")]);
    const odd = await runService("cli", { args: [...args, "--for", "."], env });
    expect([odd.status, odd.output]).toEqual([2, expect.stringContaining("--for is for --rbac minimal")]);
  });

  it("runs two hubs from deploy/hub", async () => {
    const { stderr } = await promisify(execFile)(await findTool("kubectl"), [
      "--kubeconfig",
      cluster.kubeconfig,
      "apply",
      "--server-side",
      "-k",
      join(repositoryRoot, "deploy/hub"),
    ]);
    expect(stderr).not.toContain("would violate PodSecurity");
    await available("flotilla-hub", "flotilla-hub", 2);
    const budget = await cluster.client.get("/apis/policy/v1/namespaces/flotilla-hub/poddisruptionbudgets/flotilla-hub");
    expect(budget.spec.minAvailable).toBe(1);
  });

  it("loses the agent and nothing else by `fleet agent uninstall`", async () => {
    await cluster.client.create("/api/v1/namespaces/default/configmaps", { metadata: { name: "workload" }, data: { a: "1" } });
    const target = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.name];
    const unconfirmed = await runService("cli", { args: ["agent", "uninstall", ...target] });
    expect(unconfirmed.status).toBe(2);
    const { status, output } = await runService("cli", { args: ["agent", "uninstall", ...target, "--yes"] });
    expect(status, output).toBe(0);
    expect(output).toContain("what fleets applied keeps running");
    await waitFor(async () => !(await cluster.client.find("/api/v1/namespaces/flotilla-system")), { what: "the namespace's end" });
    expect(await cluster.client.find("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/flotilla-agent")).toBeUndefined();
    expect(await cluster.client.find("/api/v1/namespaces/default/configmaps/workload")).toBeDefined();
  });

  it("says which contexts there are, and that a token is not good enough", async () => {
    const missing = await runService("cli", { args: ["agent", "install", ...installFlags, "--kubeconfig", cluster.kubeconfig, "--context", "nowhere"] });
    expect(missing.status).toBe(2);
    expect(missing.output).toContain(`it has: ${cluster.name}`);
    const folder = await mkdtemp(join(tmpdir(), "flotilla-deploy-"));
    try {
      const kubeconfig = join(folder, "kubeconfig");
      await writeFile(kubeconfig, (await readFile(cluster.kubeconfig, "utf8")).replaceAll(cluster.token, "nonsense"));
      const refused = await runService("cli", { args: ["agent", "install", ...installFlags, "--kubeconfig", kubeconfig] });
      expect(refused.status, refused.output).toBe(5);
      expect(refused.output).toContain("--print and let somebody apply it");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
