import type { Page, ReleaseRow } from "@flotilla/proto/rest/contract";
import { waitForValue } from "../harness/wait-for.ts";
import { toneOf } from "./chaos-fleet.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import { shownEvent, type TappedEvent } from "./outbox-tap.ts";
import type { ChaosRecord } from "./run-chaos.ts";

/** What came of one guarantee. */
export interface Verdict {
  readonly guarantee: string;
  /** What was looked at, with numbers. */
  readonly looked: string;
  /** What was found wrong; empty when it held. */
  readonly problems: readonly string[];
}

/** Every guarantee that this run can judge, from what was recorded and from how everything is now. */
export async function judge(rig: ChaosRig, record: ChaosRecord, settled: { readonly ms: number; readonly problem: string }): Promise<Verdict[]> {
  const clusters = await rig.hub.api.clusters();
  const labels = new Map(clusters.map(({ name, labels: of }) => [name, of]));
  const reports = await judgeReports(rig);
  const states = await endStates(rig, labels);
  return [
    ...reports,
    judgeView(record, states, settled),
    ...judgeDeletes(record, await auditedDeletes(rig), await releasesOf(rig)),
    judgeLeftovers(record, states),
    judgeWrites(record, labels),
  ];
}

/** G1, G2, G3: what was seen on the agents' disks is what the hub serves, once each. */
async function judgeReports(rig: ChaosRig): Promise<Verdict[]> {
  const tapped = rig.tap.events;
  const served = await waitForValue(
    () => servedEvents(rig),
    (events) => missingOf(tapped, events).length === 0,
    {
      what: "every recorded event at the hub",
      timeoutMs: 30_000,
      everyMs: 1_000,
    },
  ).catch(() => servedEvents(rig));
  const gaps = await rig.hub.api.events({ reason: "ReportsLost" });
  const missing = missingOf(tapped, served);
  const doubled = doubledIn(tapped, served);
  const looked = `${tapped.length} events in ${rig.tap.reports} reports that were seen on disks`;
  return [
    {
      guarantee: "G1",
      looked,
      problems: [
        ...gaps.map(({ cluster, message }) => `${cluster}: ${message}`),
        ...missing.slice(0, 5).map(({ cluster, text }) => `${cluster} recorded, and the hub has not: ${text}`),
      ],
    },
    { guarantee: "G2", looked, problems: doubled.slice(0, 5) },
  ];
}

async function servedEvents(rig: ChaosRig): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const event of await rig.hub.api.events({})) {
    const key = `${event.cluster} ${shownEvent(event)}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** Recorded, and not so often at the hub. */
export function missingOf(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): TappedEvent[] {
  const left = new Map(served);
  return tapped.filter(({ cluster, text }) => {
    const key = `${cluster} ${text}`;
    const count = left.get(key) ?? 0;
    left.set(key, count - 1);
    return count <= 0;
  });
}

/** More often at the hub than it was recorded. */
export function doubledIn(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): string[] {
  const recorded = new Map<string, number>();
  for (const { cluster, text } of tapped) recorded.set(`${cluster} ${text}`, (recorded.get(`${cluster} ${text}`) ?? 0) + 1);
  return [...recorded]
    .filter(([key, count]) => (served.get(key) ?? 0) > count)
    .map(([key, count]) => `recorded ${count} times, served ${served.get(key)}: ${key}`);
}

/** What an API server has under one name. */
export interface LiveMap {
  readonly uid: string;
  readonly value: string | undefined;
  readonly tone: string | undefined;
  /** It carries the fleet's mark. */
  readonly isOwned: boolean;
}

/** What the hub shows of one object. */
export interface ShownObject {
  readonly name: string;
  readonly sync: string;
  readonly uid: string;
}

/** One cluster at the end. Of simulated ones there is nothing to compare with but Git. */
export interface EndState {
  readonly cluster: string;
  readonly tone: string;
  readonly live: ReadonlyMap<string, LiveMap> | undefined;
  readonly shown: readonly ShownObject[];
}

/** A delete by an agent that an API server carried out. */
export interface AuditedDelete {
  readonly cluster: string;
  readonly object: string;
  /** Epoch ms. */
  readonly at: number;
  readonly hasUid: boolean;
}

/** A release of a revision to a cluster, as the hub's history has it. */
export interface Released {
  readonly cluster: string;
  readonly revision: string;
  /** Epoch ms. */
  readonly at: number;
}

async function endStates(rig: ChaosRig, labels: ReadonlyMap<string, Readonly<Record<string, string>>>): Promise<EndState[]> {
  const shownIn = async (cluster: string): Promise<ShownObject[]> =>
    (await rig.hub.api.objects({ fleet: "chaos", cluster })).map(({ name, sync, uid }) => ({ name, sync, uid: uid ?? "" }));
  const real = rig.members.map(async ({ name, kube }) => ({
    cluster: name,
    tone: toneOf(labels.get(name) ?? {}),
    live: await liveMaps(kube),
    shown: await shownIn(name),
  }));
  const simulated = rig.crowd.names.map(async (cluster) => ({
    cluster,
    tone: toneOf(labels.get(cluster) ?? {}),
    live: undefined,
    shown: await shownIn(cluster),
  }));
  return await Promise.all([...real, ...simulated]);
}

async function liveMaps(kube: RealMember["kube"]): Promise<ReadonlyMap<string, LiveMap>> {
  const items = await kube.client.list("/api/v1/namespaces/default/configmaps");
  return new Map(
    items.map(({ metadata, data }) => {
      const isOwned = metadata.annotations?.["flotilla.dev/owner"]?.startsWith("chaos/") === true;
      return [metadata.name, { uid: metadata.uid ?? "", value: data?.value, tone: data?.tone, isOwned }];
    }),
  );
}

/** G4: hub and clusters, object by object. */
export function judgeView(
  { final }: Pick<ChaosRecord, "final">,
  states: readonly EndState[],
  settled: { readonly ms: number; readonly problem: string },
): Verdict {
  const problems = settled.problem === "" ? [] : [settled.problem];
  let compared = 0;
  for (const { cluster, tone, live, shown } of states) {
    compared += live === undefined ? shown.length : final.size;
    const rows = new Map(shown.map((row) => [row.name, row]));
    for (const [object, value] of final) {
      const [item, row] = [live?.get(object), rows.get(object)];
      if (live !== undefined && (item?.value !== value || item.tone !== tone))
        problems.push(`${object} in ${cluster} is ${item?.value}, ${item?.tone}, Git says ${value}, ${tone}`);
      if (row?.sync !== "Synced" || (live !== undefined && row.uid !== item?.uid))
        problems.push(`${object} in ${cluster} is shown as ${row?.sync ?? "missing"} ${row?.uid ?? ""}, and is ${item?.uid ?? "simulated"}`);
    }
    for (const object of rows.keys()) if (!final.has(object)) problems.push(`${object} is shown in ${cluster}, and Git does not name it`);
  }
  const looked = `${compared} objects in ${states.length} clusters, agreed ${(settled.ms / 1_000).toFixed(1)} s after the last push`;
  return { guarantee: "G4", looked, problems: problems.slice(0, 10) };
}

async function auditedDeletes(rig: ChaosRig): Promise<AuditedDelete[]> {
  const deletes: AuditedDelete[] = [];
  for (const { name, kube } of rig.members) {
    for (const { verb, userAgent, objectRef, requestObject, requestReceivedTimestamp, responseStatus, stage } of await kube.auditedRequests()) {
      if (verb !== "delete" || userAgent !== "flotilla-agent" || stage !== "ResponseComplete" || responseStatus?.code !== 200) continue;
      if (objectRef?.namespace !== "default" || objectRef.resource !== "configmaps" || objectRef.name === undefined) continue;
      deletes.push({ cluster: name, object: objectRef.name, at: Date.parse(requestReceivedTimestamp), hasUid: Boolean(requestObject?.preconditions?.uid) });
    }
  }
  return deletes;
}

async function releasesOf(rig: ChaosRig): Promise<Released[]> {
  const each = rig.members.map(async ({ name }) => {
    const { items } = await rig.hub.api.request<Page<ReleaseRow>>("GET", `/api/v1/releases?fleet=chaos&cluster=${name}&limit=500`);
    return items.map(({ cluster, revision, releasedAt }) => ({ cluster, revision, at: Date.parse(releasedAt) }));
  });
  return (await Promise.all(each)).flat();
}

/** An agent may be stopped for so long with a target in its hand. */
const mayLagMs = 60_000;

/** G5, G7: what agents deleted was in none of what their clusters were to run then, and they said whose UID they meant. */
export function judgeDeletes({ pushed }: Pick<ChaosRecord, "pushed">, deletes: readonly AuditedDelete[], releases: readonly Released[]): Verdict[] {
  const contents = new Map(pushed.map((push) => [push.revision, push.contents]));
  const unwarranted = deletes.filter(({ cluster, object, at }) => {
    const until = releases.filter((release) => release.cluster === cluster && release.at <= at + 1_000).toSorted((a, b) => b.at - a.at);
    // Those of the last minute, and the one before them.
    const current = until.filter((release, index) => index === 0 || (until[index - 1]?.at ?? 0) > at - mayLagMs);
    return !current.some(({ revision }) => contents.get(revision)?.has(object) === false);
  });
  const looked = `${deletes.length} deletes by agents in the audit logs, ${releases.length} releases`;
  return [
    {
      guarantee: "G5",
      looked,
      problems: unwarranted.slice(0, 10).map(({ object, cluster }) => `${object} was deleted in ${cluster}, and all that it was to run then names it`),
    },
    {
      guarantee: "G7",
      looked,
      problems: deletes
        .filter(({ hasUid }) => !hasUid)
        .slice(0, 10)
        .map(({ object, cluster }) => `${object} was deleted in ${cluster} without its UID`),
    },
  ];
}

/** G8: nothing of ours is left that Git does not name. */
export function judgeLeftovers({ final }: Pick<ChaosRecord, "final">, states: readonly EndState[]): Verdict {
  const owned = states.flatMap(({ cluster, live }) => [...(live ?? [])].filter(([, { isOwned }]) => isOwned).map(([object]) => ({ cluster, object })));
  const left = owned.filter(({ object }) => !final.has(object)).map(({ cluster, object }) => `${object} is left over in ${cluster}`);
  const servers = states.filter(({ live }) => live !== undefined).length;
  return { guarantee: "G8", looked: `${owned.length} objects with the fleet's mark in ${servers} API servers`, problems: left.slice(0, 10) };
}

/** G15: what the API answered is there, or what was tried after it. */
export function judgeWrites({ labels }: ChaosRecord, now: ReadonlyMap<string, Readonly<Record<string, string>>>): Verdict {
  const answered = [...labels].filter(([, { answered: env }]) => env !== "");
  const problems = answered.flatMap(([name, { answered: env, tried }]) => {
    const is = now.get(name)?.env ?? "";
    return is === env || tried.includes(is) ? [] : [`${name} was answered env=${env}, and has env=${is}`];
  });
  return { guarantee: "G15", looked: `the last answered label of ${answered.length} clusters`, problems };
}
