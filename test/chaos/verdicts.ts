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
  return [
    ...(await judgeReports(rig)),
    await judgeView(rig, record, labels, settled),
    ...(await judgeDeletes(rig, record)),
    await judgeLeftovers(rig, record),
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

/** Recorded, and not at the hub at all. */
export function missingOf(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): TappedEvent[] {
  return tapped.filter(({ cluster, text }) => !served.has(`${cluster} ${text}`));
}

/** More often at the hub than it was recorded. */
export function doubledIn(tapped: readonly TappedEvent[], served: ReadonlyMap<string, number>): string[] {
  const recorded = new Map<string, number>();
  for (const { cluster, text } of tapped) recorded.set(`${cluster} ${text}`, (recorded.get(`${cluster} ${text}`) ?? 0) + 1);
  return [...recorded]
    .filter(([key, count]) => (served.get(key) ?? 0) > count)
    .map(([key, count]) => `recorded ${count} times, served ${served.get(key)}: ${key}`);
}

/** G4: hub and clusters, object by object. */
async function judgeView(
  rig: ChaosRig,
  { final }: ChaosRecord,
  labels: ReadonlyMap<string, Readonly<Record<string, string>>>,
  settled: { readonly ms: number; readonly problem: string },
): Promise<Verdict> {
  const problems = settled.problem === "" ? [] : [settled.problem];
  let compared = 0;
  for (const { name, kube } of rig.members) {
    const live = new Map((await kube.client.list("/api/v1/namespaces/default/configmaps")).map((item) => [item.metadata.name, item]));
    const rows = new Map((await rig.hub.api.objects({ fleet: "chaos", cluster: name })).map((row) => [row.name, row]));
    const tone = toneOf(labels.get(name) ?? {});
    for (const [object, value] of final) {
      compared += 1;
      const [item, row] = [live.get(object), rows.get(object)];
      if (item?.data?.value !== value || item.data.tone !== tone)
        problems.push(`${object} in ${name} is ${JSON.stringify(item?.data)}, Git says ${value}, ${tone}`);
      if (row?.sync !== "Synced" || row.uid !== item?.metadata.uid)
        problems.push(`${object} in ${name} is shown as ${row?.sync ?? "missing"} ${row?.uid}, and is ${item?.metadata.uid}`);
    }
    for (const object of rows.keys()) if (!final.has(object)) problems.push(`${object} is shown in ${name}, and Git does not name it`);
  }
  for (const name of rig.crowd.names) {
    const rows = await rig.hub.api.objects({ fleet: "chaos", cluster: name });
    compared += rows.length;
    const wrong = rows.filter((row) => !final.has(row.name) || row.sync !== "Synced");
    if (rows.length !== final.size || wrong.length > 0)
      problems.push(`${name} is shown with ${rows.length} objects, ${wrong.length} of them wrong; Git names ${final.size}`);
  }
  const objects = `${compared} objects in ${rig.members.length + rig.crowd.names.length} clusters, agreed ${(settled.ms / 1_000).toFixed(1)} s after the last push`;
  return { guarantee: "G4", looked: objects, problems: problems.slice(0, 10) };
}

/** G5, G7: what the API servers' audit logs say that agents deleted. */
async function judgeDeletes(rig: ChaosRig, { pushed }: ChaosRecord): Promise<Verdict[]> {
  const [unwarranted, unconditional]: [string[], string[]] = [[], []];
  let deletes = 0;
  for (const { name, kube } of rig.members) {
    for (const { verb, userAgent, objectRef, requestObject, requestReceivedTimestamp, responseStatus, stage } of await kube.auditedRequests()) {
      if (verb !== "delete" || userAgent !== "flotilla-agent" || stage !== "ResponseComplete" || responseStatus?.code !== 200) continue;
      if (objectRef?.namespace !== "default" || objectRef.resource !== "configmaps" || objectRef.name === undefined) continue;
      deletes += 1;
      const at = Date.parse(requestReceivedTimestamp);
      const object = objectRef.name;
      const isPruned = pushed.some((push) => push.at <= at + 1_000 && !push.contents.has(object));
      if (!isPruned) unwarranted.push(`${object} was deleted in ${name}, and every revision until then names it`);
      if (!requestObject?.preconditions?.uid) unconditional.push(`${object} was deleted in ${name} without its UID`);
    }
  }
  const looked = `${deletes} deletes by agents in the audit logs`;
  return [
    { guarantee: "G5", looked, problems: unwarranted.slice(0, 10) },
    { guarantee: "G7", looked, problems: unconditional.slice(0, 10) },
  ];
}

/** G8: nothing of ours is left that Git does not name. */
async function judgeLeftovers(rig: ChaosRig, { final }: ChaosRecord): Promise<Verdict> {
  const problems: string[] = [];
  let owned = 0;
  for (const member of rig.members) {
    for (const object of await ownedIn(member)) {
      owned += 1;
      if (!final.has(object)) problems.push(`${object} is left over in ${member.name}`);
    }
  }
  return { guarantee: "G8", looked: `${owned} objects with the fleet's mark in ${rig.members.length} API servers`, problems: problems.slice(0, 10) };
}

async function ownedIn({ kube }: RealMember): Promise<string[]> {
  const items = await kube.client.list("/api/v1/namespaces/default/configmaps");
  return items.filter(({ metadata }) => metadata.annotations?.["flotilla.dev/owner"]?.startsWith("chaos/")).map(({ metadata }) => metadata.name);
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
