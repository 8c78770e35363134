import { type Tone, toneIn, toneOf } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import { isInTail, tellLost } from "./lost-tails.ts";
import { problemsMax, type Verdict } from "./verdict.ts";

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
  readonly tone: Tone;
  readonly live: ReadonlyMap<string, LiveMap> | undefined;
  readonly shown: readonly ShownObject[];
}

export async function endStates(rig: ChaosRig, labels: ReadonlyMap<string, Readonly<Record<string, string>>>): Promise<EndState[]> {
  const shownIn = async (cluster: string): Promise<ShownObject[]> =>
    (await rig.api.objects({ fleet: "chaos", cluster })).map(({ name, sync, uid }) => ({ name, sync, uid: uid ?? "" }));
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
      const wanted = toneIn(object, tone);
      if (live !== undefined && (item?.value !== value || item.tone !== wanted))
        problems.push(`${object} in ${cluster} is ${item?.value}, ${item?.tone}, Git says ${value}, ${wanted}`);
      if (row?.sync !== "Synced" || (live !== undefined && row.uid !== item?.uid))
        problems.push(`${object} in ${cluster} is shown as ${row?.sync ?? "missing"} ${row?.uid ?? ""}, and is ${item?.uid ?? "simulated"}`);
    }
    for (const object of rows.keys()) if (!final.has(object)) problems.push(`${object} is shown in ${cluster}, and Git does not name it`);
  }
  const looked = `${compared} objects in ${states.length} clusters, agreed ${(settled.ms / 1_000).toFixed(1)} s after the last push`;
  return { guarantee: "G4", looked, problems: problems.slice(0, problemsMax) };
}

/** G8: nothing of ours is left that Git does not name. */
export function judgeLeftovers({ final }: Pick<ChaosRecord, "final">, states: readonly EndState[]): Verdict {
  const owned = states.flatMap(({ cluster, live }) => [...(live ?? [])].filter(([, { isOwned }]) => isOwned).map(([object]) => ({ cluster, object })));
  const left = owned.filter(({ object }) => !final.has(object)).map(({ cluster, object }) => `${object} is left over in ${cluster}`);
  const servers = states.filter(({ live }) => live !== undefined).length;
  return { guarantee: "G8", looked: `${owned.length} objects with the fleet's mark in ${servers} API servers`, problems: left.slice(0, problemsMax) };
}

/** G15: what the API answered is there, or what was tried after it. */
export function judgeWrites(
  { labels, lostTails }: Pick<ChaosRecord, "labels" | "lostTails">,
  now: ReadonlyMap<string, Readonly<Record<string, string>>>,
): Verdict {
  const all = [...labels].filter(([, { answered: env }]) => env !== "");
  const answered = all.filter(([, { answeredAt }]) => !isInTail(lostTails, answeredAt));
  const problems = answered.flatMap(([name, { answered: env, tried }]) => {
    const is = now.get(name)?.env ?? "";
    return is === env || tried.includes(is) ? [] : [`${name} was answered env=${env}, and has env=${is}`];
  });
  return { guarantee: "G15", looked: `the last answered label of ${answered.length} clusters${tellLost(all.length - answered.length)}`, problems };
}
