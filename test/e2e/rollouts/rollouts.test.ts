import type { RolloutStatus } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fleetCli } from "../../harness/fleet-cli.ts";
import { type Forge, forgeOf } from "../../harness/forge.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeToolsWithControllers } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";

const canaries = ["canary-1", "canary-2"];
const europe = ["eu-1", "eu-2", "eu-3"];
const rest = ["us-1", "us-2", "us-3"];
const all = [...canaries, ...europe, ...rest];
const settings = "/api/v1/namespaces/default/configmaps/settings";

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles:
    - name: web
      path: web
      health: { timeout: 20s }
      overlays: [{ clusters: { matchLabels: { tier: canary } }, path: web-canary }]
    - { name: base, path: base }
  rollout:
    waves:
      - name: canary
        clusters: { matchLabels: { tier: canary } }
        after: { soak: 2s, check: "clusters.all(c, c.drifted == 0)" }
      - name: europe
        clusters: { matchLabels: { tier: eu } }
        maxConcurrency: 2
        after: { approval: ops }
      - { name: rest }
    progressDeadline: 2m
`;
const configMap = (name: string, value: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}" }\n`;
const deployment = (image: string) => `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: default }
spec:
  replicas: 1
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: "${image}" }] }
`;
/** A version of the shop: on canaries a Deployment, whose image may be bad, elsewhere a ConfigMap. */
const version = (value: string, image = `example/web:${value}`) => ({
  "web/web.yaml": configMap("web", value),
  "web-canary/web.yaml": configMap("web", value),
  "web-canary/deployment.yaml": deployment(image),
});

await describeWith([...kubeToolsWithControllers, "nats-server"], "a rollout on eight clusters", () => {
  let platform: Platform;
  let forge: Forge;
  let first: string;

  beforeAll(async () => {
    platform = await startPlatform({
      clusters: all.map((name) => {
        const tier = name.split("-")[0] ?? "";
        return { name, labels: { shop: "true", tier }, ...(tier === "canary" && { kube: { controllerManager: true, kubelet: true } }) };
      }),
    });
    const repository = await platform.git.createRepository("shop");
    first = await repository.commit({ "fleet.yaml": fleetFile, "base/settings.yaml": configMap("settings", "base"), ...version("1") }, { message: "First" });
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  }, 180_000);
  afterAll(() => platform?.stop());

  const status = (): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");
  const act = (name: string, body: object = {}): Promise<RolloutStatus> => platform.hub.api.request("POST", `/api/v1/fleets/shop/rollout/${name}`, body);
  const fleet = fleetCli(() => platform);
  /** Revision by cluster, as the hub wants it. */
  const wanted = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await platform.hub.api.targets("shop")).map((row) => [row.cluster, row.wanted.revision]));
  const at = (revision: string, names: readonly string[] = all): Record<string, string> => Object.fromEntries(names.map((name) => [name, revision]));
  const until = (what: string, holds: (now: RolloutStatus) => boolean, timeoutMs = 60_000): Promise<RolloutStatus> =>
    waitForValue(status, holds, { what, timeoutMs, everyMs: 100 });
  const waits = (text: string) => until(`a rollout that ${text}`, ({ rollout }) => rollout?.reason.includes(text) ?? false);
  const ended = (revision: string, phase: string) =>
    until(`the rollout of ${revision.slice(0, 12)} ${phase}`, ({ rollout }) => rollout?.revision === revision && rollout.phase === phase);
  /** Through all waves, with the approval. */
  const through = async (revision: string): Promise<void> => {
    await until(
      `${revision.slice(0, 12)} waits for its approval`,
      ({ rollout }) => rollout?.revision === revision && rollout.reason.includes("approval by ops"),
      90_000,
    );
    await act("approve", { reason: "green" });
    await ended(revision, "Done");
    await platform.converged("shop", revision, { clusters: all.length });
  };
  const value = async (cluster: string): Promise<string | undefined> =>
    ((await platform.member(cluster).kube.client.find("/api/v1/namespaces/default/configmaps/web")) as { data?: { value?: string } } | undefined)?.data?.value;

  it("goes in waves: soaks and checks the canaries, keeps two of Europe in flight, waits for an approval, and says so", async () => {
    await waits("waits for an approval by ops");
    expect(await wanted()).toEqual(at(first, [...canaries, ...europe]));
    for (const name of rest) expect(await value(name)).toBeUndefined();
    const shown = await fleet("rollout", "status", "shop");
    expect(shown.stdout).toMatch(/^Running +[0-9a-f]{12}, begun/m);
    expect(shown.stdout).toMatch(/^✓ +canary +2 +- +- +2/m);
    expect(shown.stdout).toMatch(/^▶ +europe +3 /m);
    expect((await fleet("rollout", "approve", "shop", "--reason", "green")).status).toBe(0);
    const watched = await fleet("rollout", "watch", "shop", "--timeout", "60s");
    expect(watched.status, watched.output).toBe(0);
    expect(watched.stdout).toContain("healthy on 8 clusters");
    await platform.converged("shop", first, { clusters: 8 });
    const decisions: { items: { kind: string; clusters: number; by: string }[] } = await platform.hub.api.request(
      "GET",
      `/api/v1/rollouts/${(await status()).rollout?.id}/decisions`,
    );
    const releases = decisions.items.filter(({ kind }) => kind === "release").map(({ clusters }) => clusters);
    expect(releases.reduce((sum, clusters) => sum + clusters, 0)).toBe(8);
    expect(Math.max(...releases)).toBeLessThanOrEqual(3);
    expect(decisions.items.find(({ kind }) => kind === "approve")?.by).not.toBe("");
  }, 180_000);

  it("stops at the canary when an image is bad and comes back by itself, while drift of another bundle is healed", async () => {
    const { revision } = await forge.push(version("2", "example/fail:2"), { message: "A bad image" });
    await until("the bad revision at the canaries", ({ rollout }) => rollout?.revision === revision && rollout.phase === "Running");
    await platform.member("eu-1").kube.client.mergePatch(`${settings}?fieldManager=kubectl-edit`, { data: { value: "by hand" } });
    await waitFor(async () => (await platform.member("eu-1").kube.client.get(settings)).data.value === "base", {
      what: "the drift healed",
    });
    const { rollout } = await ended(revision, "RolledBack");
    expect(rollout?.failure?.cluster).toMatch(/^canary-/);
    expect(rollout?.failure?.message).toMatch(/web/);
    expect(await wanted()).toEqual(at(first));
    await platform.converged("shop", first, { clusters: 8 });
    const { items }: { items: { cluster: string }[] } = await platform.hub.api.request("GET", "/api/v1/releases?fleet=shop&limit=500");
    const got = (items as { cluster: string; revision: string }[]).filter((release) => release.revision === revision).map(({ cluster }) => cluster);
    expect(got.sort()).toEqual(canaries);
    const watched = await fleet("rollout", "watch", "shop");
    expect(watched.status).toBe(1);
    expect(watched.output).toContain("ended as RolledBack");
    const events = await platform.hub.api.events({ fleet: "shop", reason: "RollbackBegun" });
    expect(events[0]?.message).toMatch(/cluster canary-\d failed: .*web/);
  }, 180_000);

  it("goes on to the same end when the hub is killed after each step that it takes", async () => {
    await platform.hub.stop();
    const revision = await forge.repository.commit(version("3"), { message: "Killed at every step" });
    let kills = 0;
    for (let restarts = 0; restarts < 40; restarts += 1) {
      await platform.hub.restart({ FLOTILLA_FAILPOINT: restarts % 2 === 0 ? "after-save-decision:1" : "before-save-decision:2" }).catch(() => undefined);
      const end = await waitForValue(
        async () => (!platform.hub.running ? "killed" : await approveOrEnd(revision)),
        (result) => result !== "",
        { what: "the hub dies, or the rollout ends", timeoutMs: 60_000, everyMs: 50 },
      );
      if (end === "done") break;
      kills += 1;
    }
    await platform.hub.kill9();
    await platform.hub.restart();
    await ended(revision, "Done");
    await platform.converged("shop", revision, { clusters: 8 });
    expect(kills).toBeGreaterThanOrEqual(4);
    const { items }: { items: { cluster: string; revision: string }[] } = await platform.hub.api.request("GET", "/api/v1/releases?fleet=shop&limit=500");
    expect(
      items
        .filter((release) => release.revision === revision)
        .map(({ cluster }) => cluster)
        .sort(),
    ).toEqual([...all].sort());
  }, 300_000);

  async function approveOrEnd(revision: string): Promise<string> {
    try {
      const { rollout } = await status();
      if (rollout?.revision !== revision) return "";
      if (rollout.reason.includes("approval by ops")) await act("approve", { reason: "green" });
      return rollout.phase === "Done" ? "done" : "";
    } catch {
      return "";
    }
  }

  it("goes back while Git is away, holds that over three commits and a killed hub, and follows Git again when it is let go", async () => {
    const before = (await status()).settled;
    platform.git.fail({ kind: "status", status: 503 });
    const back = await fleet("rollback", "shop", "--to", first.slice(0, 12), "--reason", "checkout is slow");
    expect(back.status, back.output).toBe(0);
    await waitForValue(wanted, (now) => Object.values(now).every((revision) => revision === first), { what: "every cluster back", timeoutMs: 30_000 });
    await waitFor(async () => (await Promise.all(all.map(value))).every((now) => now === "1"), { what: "version 1 everywhere", timeoutMs: 30_000 });
    platform.git.fail({ kind: "none" });
    const pushed: string[] = [];
    for (const number of ["4", "5", "6"]) pushed.push((await forge.push(version(number), { message: `Version ${number}` })).revision);
    await until("the third commit waits", ({ queued }) => queued?.revision === pushed[2]);
    await platform.hub.kill9();
    await platform.hub.restart();
    const { pins, queued } = await status();
    expect(pins).toMatchObject([{ cluster: null, revision: first, reason: "checkout is slow" }]);
    expect(queued?.reason).toContain("pinned to");
    expect(await wanted()).toEqual(at(first));
    expect((await fleet("status", "shop")).stdout).toMatch(/pinned to [0-9a-f]{12} by .*checkout is slow/);
    expect(before).not.toBe(first);
    const resumed = await fleet("resume", "shop");
    expect(resumed.stdout).toContain("fleet shop follows Git again: ended 1 pin");
    await through(pushed[2] ?? "");
    const history = await fleet("history", "--cluster", "us-1", "-o", "name");
    expect(history.stdout.split("\n").slice(0, 2)).toEqual([pushed[2], first]);
    const difference = await fleet("history", "shop", "--cluster", "us-1", "--diff", `${first.slice(0, 8)}..${(pushed[2] ?? "").slice(0, 8)}`);
    expect(difference.status).toBe(3);
    expect(difference.stdout).toMatch(/^-  value: '1'$/m);
    expect(difference.stdout).toMatch(/^\+  value: '6'$/m);
  }, 240_000);

  it("takes in a cluster that joins and lets one leave meanwhile, each at what its wave has", async () => {
    const { revision } = await forge.push(version("7"), { message: "Version 7" });
    await until("it waits for the approval", ({ rollout }) => rollout?.revision === revision && rollout.reason.includes("approval by ops"), 90_000);
    // One of the last wave becomes one of Europe, which was released: it gets the revision at once. One of Europe leaves.
    await platform.hub.api.request("PATCH", "/api/v1/clusters/us-3", { labels: { tier: "eu" } });
    await waitForValue(wanted, (now) => now["us-3"] === revision, { what: "us-3 gets what Europe has", timeoutMs: 30_000 });
    expect((await wanted())["us-1"]).not.toBe(revision);
    await act("approve", { reason: "green" });
    await ended(revision, "Done");
    await platform.hub.api.request("PATCH", "/api/v1/clusters/us-3", { labels: { tier: "us" } });
    await platform.converged("shop", revision, { clusters: 8 });
  }, 180_000);
});
