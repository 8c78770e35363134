import type { RolloutClusterRow, RolloutStatus } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Forge, forgeOf } from "../../harness/forge.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const waves = ["canary", "eu", "us"] as const;
/** Of each wave: the first stays, the second loses its agent, the third joins and leaves. */
const names = waves.flatMap((wave) => [`${wave}-1`, `${wave}-2`, `${wave}-3`]);
const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles: [{ name: web, path: web }]
  rollout:
    waves:
${waves.map((wave) => `      - { name: ${wave}, clusters: { matchLabels: { tier: ${wave} } }, after: { approval: ops } }`).join("\n")}
    # Longer than the hub takes to know that an agent is away: else that would be a failure.
    progressDeadline: 50s
`;
const configMap = (value: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web, namespace: default }\ndata: { value: "${value}" }\n`;

await describeWith([...kubeTools, "nats-server"], "a rollout of a fleet that moves", () => {
  let platform: Platform;
  let forge: Forge;
  let first: string;
  let second: string;

  beforeAll(async () => {
    platform = await startPlatform({
      clusters: names.map((name) => ({ name, labels: { shop: String(!name.endsWith("-3")), tier: name.split("-")[0] ?? "" } })),
    });
    const repository = await platform.git.createRepository("shop");
    first = await repository.commit({ "fleet.yaml": fleetFile, "web/web.yaml": configMap("1") }, { message: "First" });
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    for (const wave of waves) await approve(wave);
    await platform.converged("shop", first, { clusters: 6 });
    await until("the first rollout is done", ({ rollout }) => rollout?.phase === "Done");
    // The hub takes them for online when it releases to the canaries, and learns better while it waits.
    for (const wave of waves) await platform.member(`${wave}-2`).agent.kill9();
    second = (await forge.push({ "web/web.yaml": configMap("2") }, { message: "Second" })).revision;
  }, 240_000);
  afterAll(() => platform?.stop());

  const status = (): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");
  const until = (what: string, holds: (now: RolloutStatus) => boolean, timeoutMs = 60_000): Promise<RolloutStatus> =>
    waitForValue(status, holds, { what, timeoutMs });
  const approve = async (wave: string): Promise<void> => {
    await until(
      `wave ${wave} waits for an approval`,
      ({ rollout }) => rollout?.reason.startsWith(`wave ${wave} `) === true && rollout.reason.includes("approval by ops"),
    );
    await platform.hub.api.request("POST", "/api/v1/fleets/shop/rollout/approve", { wave, reason: "green" });
  };
  /** Mark by cluster. */
  const marks = async (): Promise<Record<string, string>> => {
    const { rollout } = await status();
    const { items }: { items: RolloutClusterRow[] } = await platform.hub.api.request("GET", `/api/v1/rollouts/${rollout?.id}/clusters?limit=500`);
    return Object.fromEntries(items.map(({ cluster, mark }) => [cluster, mark]));
  };
  const marked = (cluster: string, mark: string | undefined, timeoutMs = 60_000) =>
    waitForValue(marks, (now) => now[cluster] === mark, { what: `${cluster} is ${mark ?? "gone"} in the rollout`, timeoutMs });
  const move = (cluster: string, shop: boolean) => platform.hub.api.labelCluster(cluster, { shop: String(shop) });
  const has = (cluster: string, revision: string) =>
    waitForValue(
      async () => (await platform.hub.api.targets("shop")).find((row) => row.cluster === cluster),
      (row) => row?.wanted.revision === revision && row.running?.revision === revision && row.sync === "Synced",
      { what: `${cluster} runs ${revision.slice(0, 12)}`, timeoutMs: 60_000 },
    );
  const value = async (cluster: string): Promise<string | undefined> =>
    (await platform.member(cluster).kube.client.find("/api/v1/namespaces/default/configmaps/web"))?.data?.value;

  it("gives a cluster that joins a wave to come what the fleet has, and lets it wait", async () => {
    await until("the second revision is released to the canaries", ({ rollout }) => rollout?.revision === second && rollout.phase === "Running");
    await move("us-3", true);
    await has("us-3", first);
    expect(await marks()).toMatchObject({ "us-3": "Waiting", "us-1": "Waiting" });
  }, 90_000);

  it("counts a cluster that goes offline after its release as unavailable, not as failed, and skips it after the deadline", async () => {
    await marked("canary-1", "Healthy");
    expect(await marks()).toMatchObject({ "canary-2": "Updating" });
    // Silent for its lease, then for the deadline.
    await marked("canary-2", "Skipped", 150_000);
    const { rollout } = await until("the canaries wait for an approval", ({ rollout: now }) => now?.reason.includes("approval by ops") ?? false);
    expect(rollout).toMatchObject({ phase: "Running", failure: null });
  }, 180_000);

  for (const wave of waves) {
    const [stays, returns, moves] = [`${wave}-1`, `${wave}-2`, `${wave}-3`];

    it(`in wave ${wave}: skips what is offline, takes in what joins, lets what returns catch up, and forgets what leaves`, async () => {
      await until(
        `wave ${wave} waits for an approval`,
        ({ rollout }) => rollout?.revision === second && rollout.reason.startsWith(`wave ${wave} `) && rollout.reason.includes("approval by ops"),
      );
      expect(await marks()).toMatchObject({ [stays]: "Healthy", [returns]: "Skipped" });
      await move(moves, true);
      await has(moves, second);
      await marked(moves, "Healthy");
      expect(await value(returns)).toBe("1");
      await platform.member(returns).agent.restart();
      await marked(returns, "Healthy");
      await has(returns, second);
      expect(await value(returns)).toBe("2");
      const later = waves.slice(waves.indexOf(wave) + 1).map((name) => `${name}-1`);
      for (const cluster of later) expect(await value(cluster)).toBe("1");
      await move(moves, false);
      await marked(moves, undefined);
      const { rollout } = await status();
      expect(rollout?.waves.find(({ name }) => name === wave)?.marks).toEqual({ Healthy: 2 });
      await approve(wave);
    }, 150_000);
  }

  it("ends when all that is left is healthy", async () => {
    const { rollout } = await until("the rollout is done", ({ rollout: now }) => now?.phase === "Done");
    expect(rollout?.reason).toBe("healthy on 6 clusters");
    for (const cluster of names.filter((name) => !name.endsWith("-3"))) await has(cluster, second);
  }, 90_000);
});
