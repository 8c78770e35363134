import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Figure, writeFigures } from "../bench/figures.ts";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { findTool } from "@flotilla/hub/embedded/tools";
import { type KubeClusterOptions, startKubeCluster } from "../harness/kube-cluster.ts";
import { folderChanges, type Member, type Platform as PlatformOf, type PlatformCluster, startPlatformOn } from "../harness/platform.ts";
import { repositoryRoot } from "../harness/programs.ts";
import { startSimulatedCluster } from "../harness/simulated/simulated-cluster.ts";
import { playRollout } from "./rollout-story.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

/**
 * The main job on real servers: three API servers with controller-manager (the harness plays kubelet), a Git server, the hub with its Postgres and
 * NATS, three agents that joined by token. Each step is measured. Stays up to play with; `--headless` ends by itself. `--story rollout` tells of waves, a rollback and a preview instead.
 * `--simulated` plays on API servers inside this process, as does a machine where real ones cannot be had; the agents are the real ones.
 */

type Platform = PlatformOf<PlatformCluster>;

const members = [
  { name: "berlin-1", labels: { shop: "true", env: "prod", region: "eu" } },
  { name: "paris-1", labels: { shop: "true", env: "prod", region: "eu" } },
  { name: "lab-1", labels: { shop: "true", env: "staging", region: "eu" } },
];

const webConfig = "/api/v1/namespaces/payments/configmaps/cluster-facts";
const fleetFolder = join(repositoryRoot, "test/fixtures/shop");

interface Step {
  readonly name: string;
  readonly ms: number;
  readonly told: string;
}

class Demo {
  readonly steps: Step[] = [];
  readonly #startedAt = performance.now();

  say(line: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(6);
    process.stdout.write(`${seconds}s  ${line}\n`);
  }

  /** Runs one step, prints and keeps its time. */
  async step(name: string, run: () => Promise<{ told: string; ms?: number }>): Promise<void> {
    const from = performance.now();
    const { told, ms = performance.now() - from } = await run();
    this.steps.push({ name, ms, told });
    this.say(`✓ ${name}: ${told} (${shownMs(ms)})`);
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      headless: { type: "boolean", default: false },
      json: { type: "string" },
      story: { type: "string", default: "path" },
      simulated: { type: "boolean", default: false },
    },
  });
  const story = stories.get(values.story);
  if (!story) {
    process.stderr.write(`there is no story '${values.story}': --story ${[...stories.keys()].join(" | ")}\n`);
    return 2;
  }
  const demo = new Demo();
  const interrupted = Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]).then(() => "interrupted" as const);
  const isSimulated = values.simulated || !(await hasApiServer(demo));
  const kind = isSimulated ? "simulated Kubernetes API servers (inside this process; no container runs anywhere)" : "Kubernetes API servers";
  demo.say(`Starting 3 ${kind}, a Git server, the hub and 3 agents. Everything listens on loopback only.`);
  const starting = startPlatformOn(isSimulated ? simulated : startKubeCluster, {
    clusters: members.map((member) => ({ ...member, kube: { controllerManager: true, kubelet: true } })),
    build: "bundle",
    progress: (step) => demo.say(`  … ${step}`),
  });
  let status = 0;
  const platform = await starting;
  try {
    demo.say("✓ 3 clusters joined by token");
    const ended = await Promise.race([story(demo, platform).then(() => "played" as const), interrupted]);
    if (values.json !== undefined) await writeFigures(values.json, values.story === "path" ? "demo" : `demo-${values.story}`, figures(demo.steps));
    if (ended === "played" && !values.headless) {
      tellCommands(demo, platform, values.story === "rollout" ? rolloutCommands : pathCommands(platform));
      await interrupted;
    }
    if (ended === "interrupted" && values.headless) status = 1;
  } catch (error) {
    demo.say(`✗ ${(error as Error).message}`);
    status = 1;
  } finally {
    demo.say("Stopping everything that was started …");
    await platform.stop();
    demo.say("Stopped.");
  }
  return status;
}

/** Found or built; else the demo goes on without, and says why. */
async function hasApiServer(demo: Demo): Promise<boolean> {
  try {
    for (const tool of ["etcd", "kube-apiserver", "kube-controller-manager"] as const) await findTool(tool);
    return true;
  } catch (error) {
    demo.say(`There is no real API server to be had here: ${(error as Error).message}`);
    return false;
  }
}

function simulated({ name }: KubeClusterOptions): Promise<PlatformCluster> {
  return startSimulatedCluster({ name, controllers: true });
}

/** What can be told: the path of a commit; rollouts. */
const stories: ReadonlyMap<string, (demo: Demo, platform: Platform) => Promise<void>> = new Map([
  ["path", play],
  ["rollout", playRollout],
]);

async function play(demo: Demo, platform: Platform): Promise<void> {
  const { forge, revision } = await createFleet(demo, platform);
  await demo.step("first convergence", async () => {
    await platform.converged("shop", revision, { timeoutMs: 120_000 });
    const rows = await platform.hub.api.targets("shop");
    return { told: rows.map((row) => `${row.cluster} ${row.objects} objects`).join(", ") };
  });
  await demo.step("a pushed change on all three clusters", () => pushChange(platform, forge));
  await demo.step("a live edit seen and healed", () => healEdit(platform.member("berlin-1")));
  await demo.step("the hub killed, drift still healed", async () => {
    await platform.hub.kill9();
    return healEdit(platform.member("paris-1"));
  });
  await demo.step("the hub back, every report there", () => hubBack(platform));
  await demo.step("a cluster cut off is Unknown", () => cutOff(platform, platform.member("lab-1")));
  await demo.step("and comes back", () => comeBack(platform, platform.member("lab-1")));
}

async function createFleet(demo: Demo, platform: Platform): Promise<{ forge: Forge; revision: string }> {
  const repository = await platform.git.createRepository("shop");
  const revision = await repository.commit(await folderChanges(fleetFolder), { message: "The shop: platform, storefront, checkout" });
  const created = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
  demo.say(`✓ fleet shop follows ${repository.url} (branch main): a Helm chart, a Kustomize app with overlays, plain YAML with a CRD and its resource`);
  const { path, secret } = created.webhook;
  if (secret === undefined) throw new Error("the hub made no webhook secret");
  return { forge: forgeOf(platform.hub, repository, { path, secret }), revision };
}

async function pushChange(platform: Platform, forge: Forge): Promise<{ told: string; ms: number }> {
  const values = "image: ghcr.io/example/checkout\nreplicas: 1\ndomain: example.net\nworkers: [invoices, receipts, refunds, disputes]\n";
  const { revision, pushedAt } = await forge.push({ "charts/checkout/values.yaml": values }, { message: "Add the disputes worker" });
  const path = "/apis/apps/v1/namespaces/checkout/deployments/checkout-disputes";
  await Promise.all(platform.members.map(({ kube, name }) => waitFor(() => kube.client.find(path), { what: `the new Deployment on ${name}`, everyMs: 10 })));
  const ms = performance.now() - pushedAt;
  await platform.converged("shop", revision);
  return { told: `${revision.slice(0, 12)} applied everywhere`, ms };
}

async function healEdit({ kube, name }: Member<PlatformCluster>): Promise<{ told: string; ms: number }> {
  await kube.client.mergePatch(`${webConfig}?fieldManager=kubectl-edit`, { data: { domain: "edited-by-hand" } });
  const from = performance.now();
  await waitForValue(
    async () => ((await kube.client.get(webConfig)) as { data?: { domain?: string } }).data?.domain,
    (domain) => domain === "example.com",
    { what: `the edit of cluster-facts on ${name} healed`, everyMs: 10 },
  );
  return { told: `ConfigMap payments/cluster-facts on ${name}`, ms: performance.now() - from };
}

async function hubBack(platform: Platform): Promise<{ told: string }> {
  await platform.hub.restart();
  const events = await waitForValue(
    () => platform.hub.api.events({ fleet: "shop", cluster: "paris-1", reason: "DriftHealed" }),
    (rows) => rows.length > 0,
    { what: "the heal of the hub's absence in its events", timeoutMs: 60_000, everyMs: 100 },
  );
  return { told: `"${events[0]?.message ?? ""}"` };
}

async function cutOff(platform: Platform, member: Member<PlatformCluster>): Promise<{ told: string }> {
  process.kill(member.agent.pid, "SIGSTOP");
  const row = await waitForValue(
    async () => (await platform.hub.api.targets("shop")).find((target) => target.cluster === member.name),
    (target) => target?.sync === "Unknown" && target.health === "Unknown" && target.clusterPhase === "Unknown",
    { what: `${member.name} Unknown`, timeoutMs: 90_000, everyMs: 250 },
  );
  return { told: `${member.name}, as of ${row?.asOf ?? "never"}` };
}

async function comeBack(platform: Platform, member: Member<PlatformCluster>): Promise<{ told: string }> {
  process.kill(member.agent.pid, "SIGCONT");
  await waitForValue(
    async () => (await platform.hub.api.cluster(member.name)).phase,
    (phase) => phase === "Connected",
    { what: `${member.name} connected again`, timeoutMs: 90_000, everyMs: 100 },
  );
  return { told: member.name };
}

function tellCommands(demo: Demo, { hub }: Platform, commands: string): void {
  demo.say("Everything stays up until Ctrl-C. To try, in another terminal of this folder:");
  process.stdout.write(`\n  export FLOTILLA_HUB=${hub.url} FLOTILLA_TOKEN=${hub.api.token}\n${commands}\n`);
}

function pathCommands({ members: [first] }: Platform): string {
  return `  npx fleet status                     # fleets;  npx fleet status shop -o wide: clusters × bundles
  npx fleet history shop
  npx fleet trace $(npx fleet history shop -o name | head -1)
  npx fleet events --fleet shop
  npx fleet drift list
  npx fleet render shop --cluster berlin-1
  KUBECONFIG=${first?.kube.kubeconfig} kubectl -n storefront scale deployment web --replicas 9   # and see it healed
`;
}

const rolloutCommands = `  npx fleet history shop               # what became of each revision
  npx fleet rollout status shop
  npx fleet rollout list shop;  npx fleet rollout show 3
  npx fleet diff shop --branch shop-2
  npx fleet rollback shop --revert-branch;  npx fleet resume shop
  npx fleet history --cluster lab-1    # what ran there, and why
`;

function figures(steps: readonly Step[]): Figure[] {
  return steps.map(({ name, ms }) => ({ name, value: Math.round(ms), unit: "ms" }));
}

function shownMs(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

// An interrupted step may still be waiting for what was stopped under it.
process.exit(await main());
