import { headlineOf, previewObjectLine } from "@flotilla/proto/rest/preview-text";
import type { Preview, RolloutStatus } from "@flotilla/proto/rest/contract";
import { type Forge, forgeOf } from "../harness/forge.ts";
import type { Platform as PlatformOf, PlatformCluster } from "../harness/platform.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

type Platform = PlatformOf<PlatformCluster>;

/** What the story needs of the demo. */
export interface Teller {
  say(line: string): void;
  step(name: string, run: () => Promise<{ told: string; ms?: number }>): Promise<void>;
}

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles:
    - { name: web, path: web, health: { timeout: 10s } }
    - { name: settings, path: settings }
  rollout:
    waves:
      - name: canary
        clusters: { matchLabels: { env: staging } }
        after: { soak: 3s, check: "clusters.all(c, c.drifted == 0)" }
      - { name: production, maxConcurrency: 1 }
`;
const deployment = (image: string) => `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: default }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: "${image}" }] }
`;
const settings = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: default }\ndata: { colour: blue }\n`;
const webPath = "/apis/apps/v1/namespaces/default/deployments/web";
const settingsPath = "/api/v1/namespaces/default/configmaps/settings";

/** A revision that goes through the fleet in waves; a bad one that stops at the canary and comes back by itself; a rollback while Git is away. */
export async function playRollout(teller: Teller, platform: Platform): Promise<void> {
  const repository = await platform.git.createRepository("shop");
  const first = await repository.commit(
    { "fleet.yaml": fleetFile, "web/web.yaml": deployment("example/web:1"), "settings/settings.yaml": settings },
    { message: "Shop 1" },
  );
  const created = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
  const forge = forgeOf(platform.hub, repository, { path: created.webhook.path, secret: created.webhook.secret ?? "" });
  teller.say("✓ fleet shop rolls out in two waves: canary (lab-1), then production (berlin-1, paris-1) one at a time");
  const follower = follow(teller, platform);
  try {
    await teller.step("the first revision through both waves", async () => ({ told: await ended(platform, first, "Done") }));
    await teller.step("what a change would do, before it is merged", () => preview(teller, platform, forge));
    let good = "";
    await teller.step("a good commit, wave by wave", async () => {
      const pushed = await forge.push({ "web/web.yaml": deployment("example/web:2") }, { message: "Shop 2" });
      good = pushed.revision;
      return { told: await ended(platform, good, "Done"), ms: performance.now() - pushed.pushedAt };
    });
    await teller.step("a bad commit stops at the canary and comes back by itself", () => stopAtCanary(platform, forge, good));
    await teller.step("a rollback while Git is away, which newer commits do not undo", () => backWithoutGit(platform, forge, first));
    await teller.step("let go, it follows Git again", async () => {
      await platform.hub.api.request("DELETE", "/api/v1/fleets/shop/keeps");
      const newest = (await statusOf(platform)).newest ?? "";
      return { told: await ended(platform, newest, "Done") };
    });
  } finally {
    await follower.stop();
  }
}

const statusOf = (platform: Platform): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");

async function ended(platform: Platform, revision: string, phase: string): Promise<string> {
  const { rollout } = await waitForValue(
    () => statusOf(platform),
    ({ rollout: now }) => now?.revision === revision && now.endedAt !== null,
    {
      what: `the rollout of ${revision.slice(0, 12)} has ended`,
      timeoutMs: 120_000,
      everyMs: 50,
    },
  );
  if (rollout?.phase !== phase) throw new Error(`the rollout of ${revision.slice(0, 12)} ended as ${rollout?.phase}: ${rollout?.reason}`);
  return `${revision.slice(0, 12)}: ${rollout.reason}`;
}

/** Says what a rollout waits for whenever that changes, as `fleet rollout watch` does. */
function follow(teller: Teller, platform: Platform): { stop(): Promise<void> } {
  const stopped = new AbortController();
  let told = "";
  const done = (async () => {
    while (!stopped.signal.aborted) {
      const { rollout } = await statusOf(platform).catch(() => ({ rollout: null }));
      const line = rollout === null || rollout.endedAt !== null ? "" : `  · ${rollout.revision.slice(0, 12)} ${rollout.phase}: ${rollout.reason}`;
      if (line !== "" && line !== told) teller.say(line);
      told = line;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  return {
    async stop() {
      stopped.abort();
      await done;
    },
  };
}

async function preview(teller: Teller, platform: Platform, forge: Forge): Promise<{ told: string }> {
  await forge.repository.createBranch("shop-2");
  await forge.repository.commit({ "web/web.yaml": deployment("example/web:2") }, { branch: "shop-2", message: "Shop 2" });
  const begun = await platform.hub.api.request<Preview>("POST", "/api/v1/fleets/shop/previews", { branch: "shop-2" });
  const found = await waitForValue(
    () => platform.hub.api.request<Preview>("GET", `/api/v1/previews/${begun.id}`),
    ({ endedAt }) => endedAt !== null,
    { what: "the preview", timeoutMs: 60_000, everyMs: 50 },
  );
  for (const object of found.groups[0]?.objects ?? []) {
    teller.say(`  ${previewObjectLine(object)}`);
    for (const { path, before, after } of object.fields) teller.say(`      ${path}: ${before} → ${after}`);
  }
  return { told: `branch shop-2: ${headlineOf(found)}` };
}

async function stopAtCanary(platform: Platform, forge: Forge, good: string): Promise<{ told: string; ms: number }> {
  const { revision, pushedAt } = await forge.push({ "web/web.yaml": deployment("example/fail:3") }, { message: "Shop 3, with an image that nobody can pull" });
  await waitForValue(
    () => statusOf(platform),
    ({ rollout }) => rollout?.revision === revision,
    { what: "the bad revision is rolled out", timeoutMs: 30_000 },
  );
  // What else runs goes on: drift is healed meanwhile.
  const { client } = platform.member("berlin-1").kube;
  await client.mergePatch(`${settingsPath}?fieldManager=kubectl-edit`, { data: { colour: "by hand" } });
  await waitFor(async () => (await client.get(settingsPath)).data?.colour === "blue", { what: "drift is healed meanwhile" });
  await ended(platform, revision, "RolledBack");
  const ms = performance.now() - pushedAt;
  await platform.converged("shop", good);
  const images = await Promise.all(platform.members.map(async ({ kube }) => (await kube.client.get(webPath)).spec.template.spec.containers[0].image as string));
  if (images.some((image) => image !== "example/web:2")) throw new Error(`not everything is back: ${images.join(", ")}`);
  const { rollout } = await statusOf(platform);
  return { told: `${revision.slice(0, 12)} held; ${rollout?.failure?.cluster}: ${rollout?.failure?.message}; production never had it`, ms };
}

async function backWithoutGit(platform: Platform, forge: Forge, first: string): Promise<{ told: string; ms: number }> {
  platform.git.fail({ kind: "status", status: 503 });
  const from = performance.now();
  await platform.hub.api.request("POST", "/api/v1/fleets/shop/rollback", { revision: first, reason: "the demo" });
  await platform.converged("shop", first);
  const ms = performance.now() - from;
  platform.git.fail({ kind: "none" });
  const { revision } = await forge.push({ "web/web.yaml": deployment("example/web:4") }, { message: "Shop 4" });
  await waitForValue(
    () => statusOf(platform),
    ({ newest }) => newest === revision,
    { what: "the hub has seen the newer commit", timeoutMs: 60_000 },
  );
  const held = (await platform.hub.api.targets("shop")).every(({ wanted }) => wanted.revision === first);
  if (!held) throw new Error("a newer commit undid the rollback");
  return { told: `back at ${first.slice(0, 12)} on 3 clusters, pinned; ${revision.slice(0, 12)} waits`, ms };
}
