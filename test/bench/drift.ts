import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { EventRow } from "@flotilla/proto/rest/contract";
import type { HubApi } from "../harness/hub-api.ts";
import type { KubeCluster } from "../harness/kube-cluster.ts";
import { startPlatform } from "../harness/platform.ts";
import { waitFor } from "../harness/wait-for.ts";
import { benchObjects } from "./bench-objects.ts";
import { type Figure, percentile, reportFigures } from "./figures.ts";

/**
 * Live edits of a fleet of 1,001 objects, one ConfigMap after the other: how long until the API server shows what Git says again, and until
 * a reader of the hub's event stream hears of the drift. Real hub, Postgres, NATS, agent process.
 * `npm run bench -- drift [--edits N] [--per-minute N] [--json FILE] [--write]`.
 */

const apps = 250;
const namespace = "drifting";

/** When something was first seen of each object (performance.now()), by name. */
type Sightings = Map<string, number>;

/** Everybody who follows the hub: `fleet events --follow`, a UI. */
async function followDrift(api: HubApi, seen: Sightings, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${api.url}/api/v1/watch?fleet=drift`, { headers: { authorization: `Bearer ${api.token}` }, signal });
  let rest = "";
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    const frames = `${rest}${Buffer.from(chunk).toString("utf8")}`.split("\n\n");
    rest = frames.pop() ?? "";
    for (const frame of frames) note(frame, seen);
  }
}

function note(frame: string, seen: Sightings): void {
  const payload = /^data: (.*)$/m.exec(frame)?.[1];
  if (!/^event: event$/m.test(frame) || payload === undefined) return;
  const event = JSON.parse(payload) as EventRow;
  const name = /ConfigMap \S+\/(\S+)/.exec(event.message)?.[1];
  if (event.reason === "DriftDetected" && name !== undefined && !seen.has(name)) seen.set(name, performance.now());
}

async function followHeals(kube: KubeCluster, healed: Sightings, edited: ReadonlyMap<string, number>, signal: AbortSignal): Promise<void> {
  const { metadata } = await kube.client.get(`/api/v1/namespaces/${namespace}/configmaps?limit=1`);
  await kube.client.watch(`/api/v1/namespaces/${namespace}/configmaps?resourceVersion=${metadata.resourceVersion}`, signal, ({ object }) => {
    const { name } = object.metadata;
    if (object.data?.text !== "by hand" && edited.has(name) && !healed.has(name)) healed.set(name, performance.now());
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      write: { type: "boolean" },
      edits: { type: "string", default: "120" },
      "per-minute": { type: "string", default: "60" },
    },
  });
  const [edits, perMinute] = [Math.min(Number(values.edits), apps), Number(values["per-minute"])];
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say("Starting an API server, a Git server, the hub and an agent …");
  const platform = await startPlatform({
    build: "bundle",
    clusters: [{ name: "one", kube: { controllerManager: true, kubelet: true } }],
    progress: (step) => say(`  … ${step}`),
  });
  const ending = new AbortController();
  try {
    const { kube } = platform.member("one");
    const repository = await platform.git.createRepository("drift");
    const objects = benchObjects(namespace, "1", apps).map(({ object }) => JSON.stringify(object));
    const revision = await repository.commit({ "deploy/all.yaml": objects.join("\n---\n") });
    await platform.hub.api.createFleet({ name: "drift", repository: repository.url, path: "deploy", selector: {} });
    await platform.converged("drift", revision, { timeoutMs: 300_000 });
    const [edited, healed, seen]: [Sightings, Sightings, Sightings] = [new Map(), new Map(), new Map()];
    const following = [followDrift(platform.hub.api, seen, ending.signal), followHeals(kube, healed, edited, ending.signal)].map((run) =>
      run.catch(() => undefined),
    );
    await delay(5_000);
    say(`${edits} edits, ${perMinute} a minute …`);
    for (let edit = 0; edit < edits; edit++) {
      const name = `app-${edit}`;
      await kube.client.mergePatch(`/api/v1/namespaces/${namespace}/configmaps/${name}`, { data: { text: "by hand" } });
      edited.set(name, performance.now());
      await delay(60_000 / perMinute);
    }
    await waitFor(() => healed.size === edits && seen.size === edits, { what: `${edits} heals, told (${healed.size}, ${seen.size})`, timeoutMs: 30_000 });
    ending.abort();
    await Promise.all(following);
    const since = (sightings: Sightings) => [...edited].map(([name, at]) => Math.max(0, (sightings.get(name) ?? Number.NaN) - at));
    const figures = (what: string, times: readonly number[], target: number): Figure[] => [
      { name: `${what}, p50`, value: percentile(times, 50), unit: "ms" },
      { name: `${what}, p99`, value: percentile(times, 99), unit: "ms", target },
      { name: `${what}, most`, value: Math.max(...times), unit: "ms" },
    ];
    return await reportFigures(
      "drift",
      [
        { name: "edits", value: edits, unit: "" },
        { name: "edits a minute, of 1,001 objects", value: perMinute, unit: "1/min" },
        ...figures("edit to seen in the hub's event stream", since(seen), 500),
        ...figures("edit to healed", since(healed), 1_000),
      ],
      values,
    );
  } finally {
    ending.abort();
    await platform.stop();
  }
}

process.exitCode = await main();
