import { cleanText } from "@flotilla/proto/plain-words";
import type { ApprovalRow, HeldPruneRow, HeldRemovalAnswer, ObjectRow } from "@flotilla/proto/rest/contract";
import { ageOf, agoOf } from "./age.ts";
import { counted } from "./counted.ts";
import type { Paint } from "./palette.ts";
import type { ListView } from "./print.ts";
import { tableLines } from "./table.ts";

export function approvalView(now: number): ListView<ApprovalRow> {
  return {
    name: ({ id }) => String(id),
    empty: "No approvals.",
    columns: [
      { title: "AGE", cell: ({ approvedAt }) => ageOf(approvedAt, now) },
      { title: "KIND", cell: ({ kind }) => kind },
      { title: "FLEET", cell: ({ fleet }) => fleet },
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "OF", cell: ({ kind, subjects }) => counted(subjects.length, kind === "prune" ? "object" : "cluster") },
      { title: "BY", cell: ({ approvedBy }) => approvedBy },
      { title: "OUTCOME", cell: ({ outcome }) => ({ text: outcome, tone: outcome === "used" ? "good" : outcome === "void" ? "unsure" : "busy" }) },
      { title: "REASON", cell: ({ reason }) => reason },
    ],
    wide: [
      { title: "WHY VOID", cell: ({ why }) => why },
      { title: "SETTLED", cell: ({ settledAt }) => (settledAt === null ? "" : agoOf(settledAt, now)) },
      { title: "REVISION", cell: ({ revision }) => revision.slice(0, 12) },
      { title: "DIGEST", cell: ({ digest }) => digest.slice(0, 12) },
      { title: "TOKEN", cell: ({ actor }) => actor },
      { title: "ID", cell: ({ id }) => String(id) },
    ],
  };
}

/** What one list is: where, of which revision, why it is held. */
export function heldHeading(rows: readonly HeldPruneRow[]): string[] {
  const [first] = rows;
  if (first === undefined) return [];
  const clusters = rows.map(({ cluster, clusterPhase }) => (clusterPhase === "Connected" ? cluster : `${cluster} (${clusterPhase})`));
  return [
    `${counted(first.objects, "object")} of fleet ${first.fleet} would be deleted in ${counted(rows.length, "cluster")}: ${clusters.join(", ")}`,
    `  revision ${first.revision.slice(0, 12)}, list ${first.digest}`,
    `  ${first.reason}`,
  ].map(cleanText);
}

export function heldObjectLines(objects: readonly ObjectRow[], paint: Paint): string[] {
  const columns = [
    { title: "KIND", cell: ({ group, kind }: ObjectRow) => (group === "" ? kind : `${kind}.${group}`) },
    { title: "NAMESPACE", cell: ({ namespace }: ObjectRow) => namespace },
    { title: "NAME", cell: ({ name }: ObjectRow) => name },
    { title: "BUNDLE", cell: ({ bundle }: ObjectRow) => bundle },
    { title: "PROTECTED", cell: ({ protection }: ObjectRow) => (protection === "" ? "no" : { text: protection, tone: "bad" as const }) },
  ];
  return tableLines(columns, objects, paint).map((line) => `  ${line}`);
}

/** The clusters of a removal that waits, one a line. */
export function heldRemovalLines(fleet: string, held: NonNullable<HeldRemovalAnswer["held"]>): string[] {
  const lately = held.leftLately === 0 ? "" : `; ${held.leftLately} left within the last hour`;
  return [
    `${held.clusters.length} of ${held.of} clusters would leave fleet ${fleet}, ${held.allowed} may without a person${lately}`,
    `  objects: ${held.policy}, list ${held.digest}`,
    ...held.clusters.map((cluster) => `  ${cluster}`),
  ].map(cleanText);
}
