import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadAll } from "js-yaml";
import { stockNamespace, stockSets } from "../../fixtures/stock-sets.ts";
import type { KubeCluster } from "../../harness/kube-cluster.ts";
import { hasPublishedTrees, publishedTrees } from "../../harness/published-trees.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { startEngine, SyncState, testTarget, type TestBundle, type TestEngine, type TestTarget } from "../agent-fixture.ts";

/** What a span of running controllers came to. */
export interface QuietSpan {
  readonly objects: number;
  readonly disturbances: number;
  /** Messages of events that tell of drift, fights or failures. */
  readonly told: readonly string[];
  /** Writes of the agent to objects of the fleet, dry runs left out. */
  readonly writes: number;
}

interface Manifest {
  readonly kind?: string;
  readonly items?: readonly Manifest[];
}

/** The whole stock set: ours, and the published trees where they are. */
export function stockTarget(fleet: string, { generation = 1, ignoreDefaultsOff = [] as readonly string[] } = {}): TestTarget {
  const ours = stockSets.map(({ name, objects }): TestBundle => ({ name: name.toLowerCase().replaceAll(/[^a-z]+/g, "-"), objects }));
  const bundles: TestBundle[] = [{ name: "namespace", objects: [stockNamespace] }, ...ours];
  if (hasPublishedTrees) bundles.push({ name: "kube-prometheus", objects: readManifests("kube-prometheus/manifests") });
  if (hasPublishedTrees) bundles.push({ name: "podinfo", objects: inDefault(readManifests("podinfo/kustomize")) });
  if (hasPublishedTrees) bundles.push({ name: "microservices-demo", objects: inDefault(readManifests("microservices-demo/kustomize/base")) });
  return testTarget(
    fleet,
    generation,
    bundles.map((bundle) => ({ ...bundle, ignoreDefaultsOff: [...ignoreDefaultsOff] })),
  );
}

/** Apply the stock set and wait until it is in sync and nothing is under way. */
export async function settle(agent: TestEngine, target: TestTarget): Promise<void> {
  await agent.sync(target, 120_000);
  await agent.waitForQuiet();
}

/** Let other controllers work for a while, and count what the agent makes of it. */
export async function watchQuietly(cluster: KubeCluster, agent: TestEngine, spanMs: number): Promise<QuietSpan> {
  const [eventsBefore, writesBefore, until] = [agent.events.length, await writesOf(cluster), Date.now() + spanMs];
  let disturbances = 0;
  for (let round = 0; Date.now() < until; round++) {
    for (const { disturb } of stockSets) if (disturb && (await disturb(cluster.client, round))) disturbances += 1;
    await delay(500);
  }
  await agent.waitForQuiet();
  const told = agent.events.slice(eventsBefore).filter(({ reason }) => /Drift|Fight|Failed|TookOver/.test(reason));
  return {
    objects: agent.objects.size,
    disturbances,
    told: told.map(({ reason, message }) => `${reason}: ${message}`),
    writes: (await writesOf(cluster)) - writesBefore,
  };
}

/** The agent again, as after a restart of its process: it goes on with what the cluster keeps. */
export async function restartEngine(cluster: KubeCluster, agent: TestEngine, fleet: string): Promise<TestEngine> {
  await agent.stop();
  const next = await startEngine(cluster);
  await waitFor(() => next.summary(fleet)?.sync === SyncState.SYNCED, { what: "the summary after the restart", timeoutMs: 60_000 });
  await next.waitForQuiet();
  return next;
}

async function writesOf(cluster: KubeCluster): Promise<number> {
  const requests = await cluster.auditedRequests();
  return requests.filter(
    ({ verb, userAgent, objectRef, requestURI }) =>
      /^(create|update|patch|delete)$/.test(verb) &&
      userAgent === "flotilla-agent" &&
      objectRef?.namespace !== "flotilla-system" &&
      !requestURI.includes("dryRun"),
  ).length;
}

function readManifests(folder: string): Manifest[] {
  const root = join(publishedTrees, folder);
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && /\.ya?ml$/.test(entry.name) && entry.name !== "kustomization.yaml",
  );
  const documents = files.flatMap((file) => loadAll(readFileSync(join(file.parentPath, file.name), "utf8")) as Manifest[]);
  return documents.flatMap((manifest) => manifest?.items ?? manifest ?? []).filter(({ kind }) => kind !== undefined);
}

/** Trees that name no namespace, as kubectl would put them. */
function inDefault(manifests: readonly Manifest[]): object[] {
  return manifests.map((manifest) => {
    const { metadata } = manifest as { metadata: { namespace?: string } };
    return { ...manifest, metadata: { ...metadata, namespace: metadata.namespace ?? "default" } };
  });
}
