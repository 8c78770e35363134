import type { RolloutStatus } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fleetCli } from "../../harness/fleet-cli.ts";
import { type Forge, forgeOf } from "../../harness/forge.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeToolsWithControllers } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles: [{ name: web, path: web, health: { timeout: 15s }, prune: { budget: 2 } }]
  rollout: { waves: [{ name: all }] }
`;
const configMap = (name: string, value = "1", more: object = {}) =>
  `${JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data: { value }, ...more })}\n`;
const deployment = (image: string) =>
  `${JSON.stringify({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image }] } },
    },
  })}\n`;
const hook = `${JSON.stringify({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name: "migrate", namespace: "default", annotations: { "flotilla.dev/hook": "pre" } },
  spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "migrate", image: "example/ok" }] } } },
})}\n`;

await describeWith([...kubeToolsWithControllers, "nats-server"], "what a rollback does in a cluster", () => {
  let platform: Platform;
  let forge: Forge;
  let good: string;

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "one", labels: { shop: "true" }, kube: { controllerManager: true, kubelet: true } }] });
    const repository = await platform.git.createRepository("shop");
    good = await repository.commit(
      {
        "fleet.yaml": fleetFile,
        "web/web.yaml": deployment("example/web:1"),
        "web/hook.yaml": hook,
        "web/kept.yaml": configMap("kept"),
        "web/deleted.yaml": configMap("deleted"),
        "web/frozen.yaml": configMap("frozen", "1", { immutable: true }),
      },
      { message: "Good" },
    );
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    await platform.converged("shop", good);
    await until("the first rollout is done", ({ rollout }) => rollout?.phase === "Done");
  }, 180_000);
  afterAll(() => platform?.stop());

  const status = (): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");
  const until = (what: string, holds: (now: RolloutStatus) => boolean) => waitForValue(status, holds, { what, timeoutMs: 90_000, everyMs: 100 });
  const ended = (revision: string, phase: string) =>
    until(`the rollout of ${revision.slice(0, 12)} ${phase}`, ({ rollout }) => rollout?.revision === revision && rollout.phase === phase);
  const client = () => platform.member("one").kube.client;
  const configMaps = async (): Promise<string[]> =>
    (await client().list("/api/v1/namespaces/default/configmaps")).map(({ metadata }) => metadata.name).filter((name) => name !== "kube-root-ca.crt");
  const job = async () => (await client().find("/apis/batch/v1/namespaces/default/jobs/migrate"))?.metadata.uid;
  const fleet = fleetCli(() => platform);

  it("prunes what the bad revision added, applies again what it deleted, leaves the rest alone, and runs hooks again", async () => {
    const { uid } = (await client().get("/api/v1/namespaces/default/configmaps/kept")).metadata;
    const ran = await job();
    const { revision } = await forge.push(
      { "web/web.yaml": deployment("example/fail:2"), "web/added.yaml": configMap("added"), "web/deleted.yaml": null },
      { message: "Bad" },
    );
    await waitForValue(configMaps, (names) => names.includes("added") && !names.includes("deleted"), {
      what: "the bad revision in the cluster",
      timeoutMs: 60_000,
    });
    const ranBad = await job();
    expect(ranBad).not.toBe(ran);
    const { rollout } = await ended(revision, "RolledBack");
    expect(rollout?.failure?.message).toContain("web");
    await platform.converged("shop", good);
    const waited = await fleet("wait", "shop", "--for", `rollout,revision=${revision}`, "--timeout", "30s");
    expect(waited.status).toBe(1);
    expect(waited.output).toMatch(/ended as RolledBack: /);
    expect((await fleet("wait", "shop", "--for", `rollout,revision=${good}`, "--timeout", "30s")).status).toBe(0);
    expect((await fleet("history", "shop")).stdout).toMatch(/^[0-9a-f]{12} +\S+ +rendered +RolledBack +0\/0 .*\n[0-9a-f]{12} +\S+ +rendered +Done +1\/1 /m);
    expect(await configMaps()).toEqual(["deleted", "frozen", "kept"]);
    expect((await client().get("/api/v1/namespaces/default/configmaps/kept")).metadata.uid).toBe(uid);
    expect((await client().get("/apis/apps/v1/namespaces/default/deployments/web")).spec.template.spec.containers[0].image).toBe("example/web:1");
    // Once, as for any other content.
    const ranBack = await job();
    expect([ran, ranBad]).not.toContain(ranBack);
    expect(ranBack).toBeDefined();
  }, 150_000);

  it("keeps to the prune budget: what is over it waits for an approval", async () => {
    const added = ["many-1", "many-2", "many-3"];
    const { revision } = await forge.push(
      { "web/added.yaml": null, "web/deleted.yaml": configMap("deleted"), ...Object.fromEntries(added.map((name) => [`web/${name}.yaml`, configMap(name)])) },
      { message: "Bad, and adds more" },
    );
    await ended(revision, "RolledBack");
    const held = await waitForValue(
      async () => (await platform.hub.api.targets("shop"))[0]?.message,
      (message) => message?.includes("waits for approval") ?? false,
      { what: "prunes are held", timeoutMs: 60_000 },
    );
    expect(held).toContain("3 of ");
    expect(await configMaps()).toEqual(["deleted", "frozen", "kept", ...added]);
    const approved = await fleet("approve", "prune", "shop", "--cluster", "one", "--yes");
    expect(approved.status, approved.output).toBe(0);
    await waitForValue(configMaps, (names) => names.length === 3, { what: "what was approved is gone", timeoutMs: 60_000 });
    await platform.converged("shop", good);
  }, 150_000);

  it("does not begin where the API server would refuse it: the rollout has failed, with object and reason", async () => {
    // An immutable object that was deleted and made again by hand has the new value; nothing can change it back.
    const { revision } = await forge.push(
      {
        ...Object.fromEntries(["many-1", "many-2", "many-3"].map((name) => [`web/${name}.yaml`, null])),
        "web/web.yaml": deployment("example/fail:3"),
        "web/frozen.yaml": configMap("frozen", "2", { immutable: true }),
      },
      { message: "Bad, and changes what cannot be changed" },
    );
    await waitForValue(
      () => platform.hub.api.objects({ cluster: "one", fleet: "shop" }),
      (rows) => rows.some(({ name, message }) => name === "frozen" && message.includes("cannot be changed in place")),
      { what: "the agent tells that it cannot be changed", timeoutMs: 30_000 },
    );
    await client().delete("/api/v1/namespaces/default/configmaps/frozen");
    const { rollout } = await ended(revision, "Failed");
    expect(rollout?.reason).toBe("0 clusters went back; 1 cluster stayed: one (ConfigMap default/frozen: /data cannot be changed: it is immutable)");
    expect((await platform.hub.api.targets("shop"))[0]?.wanted.revision).toBe(revision);
    const byHand = await fleet("rollback", "shop", "--to", good.slice(0, 12), "--reason", "test");
    expect(byHand.status).toBe(1);
    expect(byHand.output).toMatch(/going back would be refused on one: ConfigMap default\/frozen.*--force/s);
  }, 150_000);

  it("offers Git the same: a branch with the fleet's files as they were", async () => {
    const run = await fleet("rollback", "shop", "--to", good.slice(0, 12), "--force", "--reason", "a bad night", "--revert-branch");
    expect(run.status, run.output).toBe(0);
    const name = `flotilla/revert-shop-${good.slice(0, 12)}`;
    expect(run.stdout).toContain(`branch ${name} pushed`);
    const treeOf = (ref: string) => forge.repository.git(["rev-parse", `${ref}^{tree}`]);
    expect(await treeOf(name)).toBe(await treeOf(good));
    expect(await forge.repository.git(["log", "-1", "--format=%B", name])).toContain("a bad night");
    expect(await forge.repository.git(["rev-parse", `${name}^`])).toBe(await forge.repository.git(["rev-parse", "main"]));
  }, 60_000);
});
