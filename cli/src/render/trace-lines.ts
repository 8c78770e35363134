import { cleanText, durationOf } from "@flotilla/proto/plain-words";
import type { Trace } from "@flotilla/proto/rest/contract";
import { agoOf } from "./age.ts";
import type { Paint } from "./palette.ts";

type Phase = Trace["phases"][number];

/** What a cluster's part ends with when everything it runs is in order. */
const lastPhase = "healthy";

/**
 * The path of one revision: what the hub did once, then every cluster, with when each step began (from the first one's
 * begin) and how long it took. The slowest cluster and its slowest step are marked.
 */
export function traceLines(trace: Trace, now: number, paint: Paint): string[] {
  const phases = trace.phases.toSorted((a, b) => Date.parse(a.startedAt) - Date.parse(b.startedAt));
  const origin = Date.parse(phases[0]?.startedAt ?? trace.seenAt);
  const shared = phases.filter(({ cluster }) => cluster === "");
  const clusters = byCluster(phases.filter(({ cluster }) => cluster !== ""));
  const ends = [...clusters].map(([cluster, own]) => ({ cluster, own, end: Math.max(...own.map(endOf)) }));
  const slowest = ends.length < 2 ? undefined : ends.reduce((a, b) => (b.end > a.end ? b : a)).cluster;
  const width = Math.max(8, ...phases.map(({ phase }) => phase.length));
  const branches = [
    ...(shared.length === 0 ? [] : [{ title: "hub", mark: "", phases: shared }]),
    ...ends
      .toSorted((a, b) => a.cluster.localeCompare(b.cluster))
      .map(({ cluster, own, end }) => ({
        title: cluster,
        mark: `${durationOf(end - origin)}${cluster === slowest ? "  ← slowest" : ""}`,
        phases: own,
      })),
  ];
  return [
    `${paint(`revision ${trace.revision}`, "strong")}   ${cleanText(trace.subject)}`,
    `fleet ${trace.fleet}, seen ${agoOf(trace.seenAt, now)}${trace.traceId === null ? "" : `, trace ${trace.traceId}`}`,
    ...branches.flatMap((branch, index) => branchLines(branch, { origin, width, last: index === branches.length - 1, paint })),
    ...totals(ends, origin),
  ];
}

interface Branch {
  readonly title: string;
  readonly mark: string;
  readonly phases: readonly Phase[];
}

function branchLines(
  { title, mark, phases }: Branch,
  { origin, width, last, paint }: { origin: number; width: number; last: boolean; paint: Paint },
): string[] {
  const slowestMs = Math.max(...phases.map(lengthOf));
  const stem = last ? "   " : "│  ";
  return [
    `${last ? "└─" : "├─"} ${paint(title, "strong")}${mark === "" ? "" : `   ${mark}`}`,
    ...phases.map((phase, index) => {
      const twig = index === phases.length - 1 ? "└─" : "├─";
      const times = `${`+${durationOf(Date.parse(phase.startedAt) - origin)}`.padStart(10)} ${durationOf(lengthOf(phase)).padStart(10)}`;
      const marked = phases.length > 1 && lengthOf(phase) === slowestMs && slowestMs > 0 ? paint("  *", "busy") : "";
      const error = phase.error === "" ? "" : `  ${paint(cleanText(phase.error), "bad")}`;
      return `${stem}${twig} ${phase.phase.padEnd(width)} ${times}${marked}${error}`;
    }),
  ];
}

function byCluster(phases: readonly Phase[]): Map<string, Phase[]> {
  return Map.groupBy(phases, ({ cluster }) => cluster);
}

function totals(ends: readonly { cluster: string; own: readonly Phase[] }[], origin: number): string[] {
  const done = ends
    .flatMap(({ own }) => own.filter(({ phase, error }) => phase === lastPhase && error === "").map(endOf))
    .map((end) => end - origin)
    .toSorted((a, b) => a - b);
  const clusters = ends.length === 1 ? "1 cluster" : `${ends.length} clusters`;
  if (ends.length === 0) return ["no cluster has told about this revision yet"];
  if (done.length === 0) return [`${clusters}, none healthy on it yet`];
  const middle = done[Math.floor((done.length - 1) / 2)] ?? 0;
  const all = done.length === ends.length ? clusters : `${done.length} of ${clusters}`;
  return [`push → healthy: ${all}, first ${durationOf(done[0] ?? 0)}, middle ${durationOf(middle)}, last ${durationOf(done.at(-1) ?? 0)}`];
}

function endOf(phase: Phase): number {
  return Date.parse(phase.endedAt);
}

function lengthOf(phase: Phase): number {
  return Math.max(0, endOf(phase) - Date.parse(phase.startedAt));
}
