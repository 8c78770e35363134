import type { FleetReport, ReportEnvelope } from "@flotilla/proto/gen/report";
import { maxEventsPerReport, maxObjectsPerReport } from "@flotilla/proto/limits";
import { isName } from "@flotilla/proto/names";
import { bundlesPerReportMax, driftFieldsPerReportMax, fleetsPerSnapshotMax, phasesPerReportMax, snapshotPartsMax } from "../limits.ts";

const seqMax = 2n ** 63n - 1n;

/**
 * Why an envelope that came on a cluster's subject cannot be folded; undefined when it can. Everything is bounded here, before any of it
 * is looked at further.
 */
export function checkReport(envelope: ReportEnvelope, cluster: string): string | undefined {
  const { epoch, seq, firstSeq, report } = envelope;
  if (envelope.cluster !== cluster) return `the envelope names cluster '${envelope.cluster.slice(0, 80)}', the subject '${cluster}'`;
  if (!/^[0-9a-f]{1,64}$/.test(epoch)) return "the epoch is not hexadecimal";
  if (seq < 1n || seq > seqMax) return `seq ${seq} is out of range`;
  if (firstSeq < 1n || firstSeq > seq) return `first_seq ${firstSeq} is not between 1 and seq ${seq}`;
  if (report.case !== "gap" && firstSeq !== seq) return "only a gap stands for more than itself";
  if (report.case === undefined) return "the report is of a kind that this hub does not know";
  if (report.case === "fleet") return checkFleet(report.value);
  if (report.case === "gap") return undefined;
  const { parts, part, fleets, state, snapshotId } = report.value;
  if (snapshotId === "" || snapshotId.length > 128) return "a snapshot part without a usable id";
  if (parts < 1 || parts > snapshotPartsMax || part > parts) return `part ${part} of ${parts} of a snapshot is out of range`;
  if (fleets.length > fleetsPerSnapshotMax || !fleets.every(isName)) return "the snapshot's list of fleets is too long or holds an impossible name";
  return state === undefined || state.fleet === "" ? undefined : checkFleet(state);
}

function checkFleet(report: FleetReport): string | undefined {
  if (!isName(report.fleet)) return `'${report.fleet.slice(0, 80)}' cannot be a fleet's name`;
  if (report.generation > seqMax) return `generation ${report.generation} is out of range`;
  const lists: readonly [string, number, number][] = [
    ["objects", report.objects.length, maxObjectsPerReport],
    ["removed objects", report.gone.length, maxObjectsPerReport],
    ["events", report.events.length, maxEventsPerReport],
    ["bundles", report.bundles.length, bundlesPerReportMax],
    ["phases", report.phases.length, phasesPerReportMax],
    ["drifted fields", report.objects.reduce((sum, object) => sum + object.drift.length, 0), driftFieldsPerReportMax],
  ];
  const tooLong = lists.find(([, length, max]) => length > max);
  return tooLong === undefined ? undefined : `${tooLong[1]} ${tooLong[0]} in one report; the limit is ${tooLong[2]}`;
}
