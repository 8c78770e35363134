import { parseArgs } from "node:util";
import { readFile } from "node:fs/promises";
import { forgeOf } from "../harness/forge.ts";
import { startPlatform } from "../harness/platform.ts";
import { waitFor } from "../harness/wait-for.ts";
import { type Figure, reportFigures } from "./figures.ts";

/**
 * Push to applied: 50 commits, each announced by webhook, until the change stands in every one of 3 real API servers.
 * `npm run bench -- path [--json FILE] [--write] [--commits N]`.
 */

const configMap = "/api/v1/namespaces/default/configmaps/settings";

function manifest(round: number): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: default }\ndata: { round: "${round}" }\n`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { json: { type: "string" }, write: { type: "boolean" }, commits: { type: "string", default: "50" } } });
  const commits = Number(values.commits);
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say("Starting 3 API servers, a Git server, the hub and 3 agents …");
  const platform = await startPlatform({
    build: "bundle",
    clusters: ["one", "two", "three"].map((name) => ({ name })),
    progress: (step) => say(`  … ${step}`),
  });
  try {
    const repository = await platform.git.createRepository("bench");
    const first = await repository.commit({ "deploy/settings.yaml": manifest(0), ...filler() });
    const { webhook } = await platform.hub.api.createFleet({ name: "bench", repository: repository.url, path: "deploy", selector: {} });
    await platform.converged("bench", first);
    const forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    say(`${commits} commits …`);
    const times: number[] = [];
    for (let round = 1; round <= commits; round += 1) {
      const { pushedAt } = await forge.push({ "deploy/settings.yaml": manifest(round) });
      await Promise.all(
        platform.members.map(({ kube, name }) =>
          waitFor(async () => ((await kube.client.get(configMap)) as { data?: { round?: string } }).data?.round === String(round), {
            what: `round ${round} on ${name}`,
            everyMs: 5,
          }),
        ),
      );
      times.push(performance.now() - pushedAt);
    }
    const figures: Figure[] = [
      { name: "push to applied on 3 clusters, p50", value: percentile(times, 50), unit: "ms", target: 500, better: "lower" },
      { name: "push to applied on 3 clusters, p99", value: percentile(times, 99), unit: "ms", target: 1_500, better: "lower" },
      { name: "hub resident set at 3 clusters", value: await residentMiB(platform.hub.pid), unit: "MiB", target: 200, better: "lower" },
      { name: "agent resident set", value: Math.max(...(await Promise.all(platform.members.map(({ agent }) => residentMiB(agent.pid))))), unit: "MiB" },
    ];
    return await reportFigures("path", figures, values);
  } finally {
    await platform.stop();
  }
}

/** So that the fleet has the size of a small real one: 40 objects besides the one that changes. */
function filler(): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [
      `deploy/filler-${index}.yaml`,
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: filler-${index}, namespace: default }\ndata: { text: "${"x".repeat(500)}" }\n`,
    ]),
  );
}

/** Nearest rank. */
function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN);
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024);
}

process.exitCode = await main();
