import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { loadAll } from "js-yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type AgentProcess, startAgent } from "../../harness/agent-process.ts";
import { type GitRepository, startGitServer } from "../../harness/git-server.ts";
import { type HubProcess, startHub } from "../../harness/hub-process.ts";
import type { KubeObject } from "../../harness/kube-client.ts";
import { type KubeCluster, startKubeCluster } from "../../harness/kube-cluster.ts";
import { removeFolder, scratchFolder } from "../../harness/scratch-folder.ts";
import { runService } from "../../harness/spawn-service.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";
import { createAccount } from "./account-kubeconfig.ts";

const files = {
  "fleet.yaml": `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { env: prod } }
  bundles: [{ name: base }, { name: web, namespace: shop, dependsOn: [base] }]
`,
  "base/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n",
  "web/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: config }\ndata: { a: '1' }\n",
  "web/old.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: old }\ndata: { a: '1' }\n",
};
const rbac = "/apis/rbac.authorization.k8s.io/v1";
const agentUser = "system:serviceaccount:flotilla-system:flotilla-agent";

await describeWith([...kubeTools, "nats-server"], "the agent's program with exactly the rights that `--rbac minimal` prints", () => {
  const started: { stop(): Promise<void> }[] = [];
  const kept = <T extends { stop(): Promise<void> }>(server: T): T => {
    started.unshift(server);
    return server;
  };
  let folder: string;
  let hub: HubProcess;
  let kube: KubeCluster;
  let agent: AgentProcess;
  let repository: GitRepository;
  const config = (name: string) => kube.client.find(`/api/v1/namespaces/shop/configmaps/${name}`);
  const row = async () => (await hub.api.targets("shop"))[0];
  const converged = (revision: string) =>
    waitForValue(row, (target) => target?.running?.revision === revision && target.sync === "Synced", {
      what: `revision ${revision.slice(0, 12)} applied`,
      timeoutMs: 60_000,
    });

  /** All that `agent install` prints but its workload: what somebody with cluster-admin applies. */
  const grantPrinted = async () => {
    const place = join(folder, "fleet");
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(place, name)), { recursive: true });
      await writeFile(join(place, name), content);
    }
    const flags = ["--hub", "hub.example.com:7422", "--ca-hash", "ab".repeat(32), "--token", "t", "--rbac", "minimal", "--cluster-labels", "env=prod"];
    const printed = await runService("cli", { args: ["agent", "install", ...flags, "--for", join(place, "fleet.yaml"), "--print"] });
    expect(printed.status, printed.output).toBe(0);
    const granted = (loadAll(printed.stdout) as KubeObject[]).filter(({ kind }) => /^(Namespace|(Cluster)?Role(Binding)?)$/.test(kind ?? ""));
    for (const object of granted) await kube.client.apply(pathOf(object), object, "installer");
  };

  beforeAll(async () => {
    folder = await scratchFolder("minimal-process");
    const git = kept(await startGitServer());
    repository = await git.createRepository("shop");
    kube = kept(await startKubeCluster({ name: "prod-1", auditLog: true }));
    hub = kept(await startHub({ name: "hub", dataDir: join(folder, "hub"), folder }));
    await grantPrinted();
    const kubeconfig = await createAccount(kube, "flotilla-system", "flotilla-agent");
    const stateDir = join(folder, "agent");
    await mkdir(stateDir);
    const enrolment = await hub.api.addCluster("prod-1", { env: "prod" });
    agent = kept(await startAgent({ api: hub.api, enrolment, cluster: { ...kube, kubeconfig }, stateDir, folder }));
  });
  afterAll(async () => {
    for (const server of started) await server.stop();
    if (folder !== undefined) await removeFolder(folder);
  });

  it("enrols, applies, heals, prunes, starts again and is refused nothing", async () => {
    const first = await repository.commit(files);
    await hub.api.createFleet({ name: "shop", repository: repository.url, pollIntervalMs: 1_000 });
    await converged(first);
    await kube.client.mergePatch("/api/v1/namespaces/shop/configmaps/config", { data: { a: "by hand" } });
    await waitFor(async () => (await config("config"))?.data.a === "1", { what: "the heal", timeoutMs: 20_000 });
    await converged(await repository.commit({ "web/old.yaml": null }));
    await waitFor(async () => (await config("old")) === undefined, { what: "the prune", timeoutMs: 20_000 });
    await agent.kill9();
    await agent.restart();
    await converged(await repository.commit({ "web/config.yaml": files["web/config.yaml"].replace("'1'", "'2'") }));
    expect((await config("config"))?.data.a).toBe("2");
    const refused = (await kube.auditedRequests())
      .filter(({ user, responseStatus }) => user.username === agentUser && responseStatus?.code === 403)
      // That it may not list or watch all namespaces at once is how it learns to look into single ones.
      .filter(({ verb, objectRef }) => !((verb === "list" || verb === "watch") && objectRef?.namespace === undefined))
      .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
    expect(refused).toEqual([]);
  });
});

function pathOf({ kind = "", metadata }: KubeObject): string {
  if (kind === "Namespace") return `/api/v1/namespaces/${metadata.name}`;
  const place = metadata.namespace === undefined ? rbac : `${rbac}/namespaces/${metadata.namespace}`;
  return `${place}/${kind.toLowerCase()}s/${metadata.name}`;
}
