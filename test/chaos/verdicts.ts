import type { ChaosRecord } from "./chaos-record.ts";
import type { ChaosRig } from "./chaos-rig.ts";
import { auditedDeletes, judgeDeletes, releasesOf } from "./judge-deletes.ts";
import { endStates, judgeLeftovers, judgeView, judgeWrites } from "./judge-end.ts";
import { judgeReports } from "./judge-reports.ts";
import type { Verdict } from "./verdict.ts";

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
