import type { Arrivals } from "./arrival-tap.ts";
import { auditedWrites } from "./audited-writes.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import { type ChaosRig, rightTime } from "./chaos-rig.ts";
import { judgeBudgets } from "./judge-budgets.ts";
import { judgeDeletes, releasesOf } from "./judge-deletes.ts";
import { endStates, judgeLeftovers, judgeView, judgeWrites } from "./judge-end.ts";
import { type HealWord, judgeFights } from "./judge-fights.ts";
import { judgeHeals } from "./judge-heals.ts";
import { judgeNeighbours } from "./judge-neighbours.ts";
import { judgeReports } from "./judge-reports.ts";
import type { Verdict } from "./verdict.ts";

/** Every guarantee that this run can judge, from what was recorded and from how everything is now. */
export async function judge(
  rig: ChaosRig,
  record: ChaosRecord,
  settled: { readonly ms: number; readonly problem: string },
  arrivals: Arrivals,
): Promise<Verdict[]> {
  const clusters = await rig.api.clusters();
  const labels = new Map(clusters.map(({ name, labels: of }) => [name, of]));
  const reports = await judgeReports(rig, record);
  const states = await endStates(rig, labels);
  const [writes, releases] = [await auditedWrites(rig), await releasesOf(rig)];
  return [
    ...reports,
    judgeView(record, states, settled),
    ...judgeDeletes(record, writes, releases),
    judgeBudgets(record, writes, releases),
    judgeLeftovers(record, states),
    judgeHeals(record, writes),
    judgeWrites(record, labels),
    judgeFights(record, writes, await healWords(rig)),
    judgeNeighbours(record, arrivals),
  ];
}

async function healWords(rig: ChaosRig): Promise<HealWord[]> {
  const of = async (reason: HealWord["reason"]): Promise<HealWord[]> =>
    (await rig.api.events({ reason })).map(({ cluster, object, at }) => ({ cluster, object, reason, at: rightTime(rig, cluster, at) }));
  return [...(await of("DriftHealed")), ...(await of("Fight"))];
}
