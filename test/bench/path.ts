import { parseArgs } from "node:util";
import { forgeOf } from "../harness/forge.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitFor } from "../harness/wait-for.ts";
import { settled } from "./crowd-fleet.ts";
import { pushAndFollow, say, startCrowdRig } from "./crowd-rig.ts";
import { type Figure, percentile, reportFigures } from "./figures.ts";
import { residentMiB } from "./proc-usage.ts";

/**
 * Push to applied: commits, each announced by webhook, until the change stands in the API server of every cluster: real ones with an agent process each, and simulated ones
 * with real agents. Each cluster's time counts by itself.
 * `npm run bench -- path [--json FILE] [--write] [--commits N] [--real 3,30] [--simulated 100]`; 0 leaves one out.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    commits: { type: "string", default: "30" },
    real: { type: "string", default: "3,30" },
    simulated: { type: "string", default: "100" },
  },
});
const commits = Number(values.commits);
const settingsPath = "/api/v1/namespaces/default/configmaps";
/** p50 and p99 by the number of real clusters. */
const targets: Record<number, { p50?: number; p99: number }> = { 3: { p50: 500, p99: 1_500 }, 30: { p99: 1_000 } };

const figures: Figure[] = [];
for (const count of sizes(values.real)) figures.push(...(await onRealClusters(count)));
for (const count of sizes(values.simulated)) figures.push(...(await onSimulatedClusters(count)));
process.exitCode = await reportFigures("path", figures, values);

async function onRealClusters(count: number): Promise<Figure[]> {
  say(`Starting ${count} API servers, a Git server, the hub and ${count} agents …`);
  const clusters = Array.from({ length: count }, (_, index) => ({ name: `c-${String(index).padStart(2, "0")}` }));
  const platform = await startPlatform({ build: "bundle", clusters, progress: (step) => say(`  … ${step}`) });
  const stopped = new AbortController();
  try {
    const repository = await platform.git.createRepository("bench");
    const first = await repository.commit(files("0"));
    const { webhook } = await platform.hub.api.createFleet({ name: "bench", repository: repository.url, path: "deploy", selector: {} });
    await platform.converged("bench", first);
    const forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    const arrived = watchSettings(platform, stopped.signal);
    await waitFor(() => arrived("0").length === count, { what: "every watch open", timeoutMs: 30_000 });
    say(`${commits} commits …`);
    const times: number[] = [];
    for (let round = 1; round <= commits; round += 1) {
      const { pushedAt } = await forge.push({ "deploy/settings.yaml": settings(String(round)) });
      await waitFor(() => arrived(String(round)).length === count, { what: `round ${round} on every cluster`, timeoutMs: 60_000, everyMs: 20 });
      times.push(...arrived(String(round)).map((at) => at - pushedAt));
    }
    const name = (what: string) => `${count} real clusters, ${what}`;
    const { p50, p99 } = targets[count] ?? {};
    return [
      { name: name("push to applied p50"), value: percentile(times, 50), unit: "ms", ...(p50 !== undefined && { target: p50 }) },
      { name: name("push to applied p99"), value: percentile(times, 99), unit: "ms", ...(p99 !== undefined && { target: p99 }) },
      { name: name("hub resident set"), value: await residentMiB(platform.hub.pid), unit: "MiB", target: 200 },
      {
        name: name("agent resident set, the largest"),
        value: Math.max(...(await Promise.all(platform.members.map(({ agent }) => residentMiB(agent.pid))))),
        unit: "MiB",
      },
    ];
  } finally {
    stopped.abort();
    await platform.stop();
  }
}

/** @returns for a round when it came to each cluster that has it (performance.now()). */
function watchSettings(platform: Platform, signal: AbortSignal): (round: string) => readonly number[] {
  const seen = new Map<string, number[]>();
  for (const { kube } of platform.members) {
    const query = `${settingsPath}?watch=1&fieldSelector=metadata.name%3Dsettings`;
    void kube.client
      .watch(query, signal, ({ object }) => {
        const { round = "" } = (object as { data?: { round?: string } }).data ?? {};
        seen.set(round, [...(seen.get(round) ?? []), performance.now()]);
      })
      .catch((error: unknown) => signal.aborted || say(`a watch broke: ${String(error)}`));
  }
  return (round) => seen.get(round) ?? [];
}

async function onSimulatedClusters(count: number): Promise<Figure[]> {
  const rig = await startCrowdRig({ count, files: files("first"), maxEvents: 100 });
  try {
    await settled(rig, count);
    say(`${commits} commits …`);
    const times: number[] = [];
    for (let round = 1; round <= commits; round += 1) {
      times.push(...(await pushAndFollow(rig, { "deploy/settings.yaml": settings(`r${round}`) }, { text: `"r${round}"`, perCluster: 1 }, 60_000)));
      await settled(rig, count);
    }
    const name = (what: string) => `${count} simulated clusters, ${what}`;
    return [
      { name: name("push to applied p50"), value: percentile(times, 50), unit: "ms", target: 300 },
      { name: name("push to applied p99"), value: percentile(times, 99), unit: "ms", target: 900 },
      { name: name("hub resident set"), value: await rig.hubMiB(), unit: "MiB" },
    ];
  } finally {
    await rig.stop();
  }
}

function sizes(list: string): number[] {
  return list
    .split(",")
    .map(Number)
    .filter((count) => count > 0);
}

function settings(round: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: default }\ndata: { round: "${round}" }\n`;
}

/** So that the fleet has the size of a small real one: 40 objects besides the one that changes. */
function files(round: string): Record<string, string> {
  const filler = Array.from({ length: 40 }, (_, index) => [
    `deploy/filler-${index}.yaml`,
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: filler-${index}, namespace: default }\ndata: { text: "${"x".repeat(500)}" }\n`,
  ]);
  return { ...Object.fromEntries(filler), "deploy/settings.yaml": settings(round) };
}
