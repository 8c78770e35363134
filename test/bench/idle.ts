import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { agentRequests } from "../e2e/engine/proxied-cluster.ts";
import type { AuditedRequest } from "../harness/kube-cluster.ts";
import { type Member, type Platform, startPlatform } from "../harness/platform.ts";
import { waitFor } from "../harness/wait-for.ts";
import { benchObjects } from "./bench-objects.ts";
import { type Figure, reportFigures } from "./figures.ts";
import { cpuSeconds, residentMiB, socketBytes } from "./proc-usage.ts";

/**
 * What an agent costs while nothing changes: 501 objects (125 apps that run, with a controller-manager and a kubelet's part played), the
 * agent's bundle with the flags of its image, a whole hub. Requests by the API server's audit log, bytes to the hub by the kernel's
 * counters. Then 4,500 objects more, for memory.
 * `npm run bench -- idle [--minutes N] [--json FILE] [--write]`.
 */

const apps = 125;
/** ServiceAccounts, ConfigMaps and Services only: nothing that runs pods. */
const moreObjects = 4_500;
const sampleEveryMs = 5_000;
/** Bytes of garbage are given back within some seconds. */
const settleMs = 60_000;

function manifests(objects: readonly object[]): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: Math.ceil(objects.length / 100) }, (_, file) => [
      `deploy/part-${file}.yaml`,
      objects
        .slice(file * 100, file * 100 + 100)
        .map((object) => JSON.stringify(object))
        .join("\n---\n"),
    ]),
  );
}

async function fleet(platform: Platform, name: string, objects: readonly object[]): Promise<void> {
  const repository = await platform.git.createRepository(name);
  const revision = await repository.commit(manifests(objects));
  await platform.hub.api.createFleet({ name, repository: repository.url, path: "deploy", selector: {} });
  await platform.converged(name, revision, { timeoutMs: 300_000 });
}

const isWatch = ({ verb }: AuditedRequest) => verb === "watch";
const isWrite = ({ verb }: AuditedRequest) => /^(create|update|patch|delete)/.test(verb);

/** The last effects of the rollout are told, and nothing but watches was asked for a while. */
async function quiet({ kube }: Member): Promise<void> {
  const lull = 20_000;
  await waitFor(async () => (await agentRequests(kube, Date.now() - lull)).every(isWatch), { what: "a quiet agent", timeoutMs: 180_000, everyMs: 2_000 });
}

async function hubBytes({ kube, agent }: Member): Promise<Map<string, number>> {
  const apiServer = new URL(kube.url).host;
  const connections = [...(await socketBytes(agent.pid))].filter(([name]) => !name.endsWith(apiServer));
  return new Map(connections.map(([name, { sent }]) => [name, sent]));
}

/** What was sent over connections since; one that began meanwhile counts whole. */
function sentSince(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number {
  return [...after].reduce((sum, [name, sent]) => sum + sent - (before.get(name) ?? 0), 0);
}

async function idleFigures(member: Member, minutes: number): Promise<Figure[]> {
  const { kube, agent } = member;
  const [startedAt, cpuBefore, bytesBefore] = [Date.now(), await cpuSeconds(agent.pid), await hubBytes(member)];
  const resident: number[] = [];
  while (Date.now() - startedAt < minutes * 60_000) {
    await delay(sampleEveryMs);
    resident.push(await residentMiB(agent.pid));
  }
  const seconds = (Date.now() - startedAt) / 1_000;
  const cpu = (await cpuSeconds(agent.pid)) - cpuBefore;
  const bytes = sentSince(bytesBefore, await hubBytes(member));
  const requests = await agentRequests(kube, startedAt);
  return [
    { name: "minutes", value: seconds / 60, unit: "min" },
    { name: "501 objects: writes to the API server", value: requests.filter(isWrite).length, unit: "", target: 0 },
    { name: "501 objects: requests besides watches", value: requests.filter((request) => !isWatch(request)).length / (seconds / 60), unit: "1/min", target: 1 },
    { name: "501 objects: watches opened anew", value: requests.filter(isWatch).length / (seconds / 60), unit: "1/min" },
    { name: "501 objects: agent's CPU", value: (cpu / seconds) * 1_000, unit: "millicores", target: 3 },
    { name: "501 objects: agent's resident set, at the end", value: resident.at(-1) ?? Number.NaN, unit: "MiB", target: 80 },
    { name: "501 objects: agent's resident set, most", value: Math.max(...resident), unit: "MiB" },
    { name: "501 objects: sent to hub and broker", value: bytes / seconds, unit: "B/s", target: 64 },
  ];
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { json: { type: "string" }, write: { type: "boolean" }, minutes: { type: "string", default: "10" } } });
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say("Starting an API server with its controllers, a Git server, the hub and an agent …");
  const platform = await startPlatform({
    build: "bundle",
    clusters: [{ name: "one", kube: { auditLog: true, controllerManager: true, kubelet: true } }],
    progress: (step) => say(`  … ${step}`),
  });
  try {
    const member = platform.member("one");
    await fleet(
      platform,
      "idle",
      benchObjects("idle", "1", apps).map(({ object }) => object),
    );
    say("501 objects are applied and healthy; waiting for quiet …");
    await quiet(member);
    say(`… and measuring for ${values.minutes} minutes`);
    const figures = await idleFigures(member, Number(values.minutes));
    const more = benchObjects("more", "1", moreObjects / 3 + 1)
      .map(({ object }) => object)
      .filter(({ kind }) => kind !== "Deployment");
    say(`${more.length} objects more …`);
    await fleet(platform, "more", more);
    await quiet(member);
    await delay(settleMs);
    figures.push({ name: `${501 + more.length} objects: agent's resident set`, value: await residentMiB(member.agent.pid), unit: "MiB", target: 110 });
    return await reportFigures("idle", figures, values);
  } finally {
    await platform.stop();
  }
}

process.exitCode = await main();
