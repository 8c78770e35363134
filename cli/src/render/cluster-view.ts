import type { ClusterRow } from "@flotilla/proto/rest/contract";
import { ageOf } from "./age.ts";
import type { ListView } from "./print.ts";
import { asOfCell, labelText, word, wordUnless } from "./status-cells.ts";

export function clusterView(now: number): ListView<ClusterRow> {
  const unknown = ({ phase }: ClusterRow): boolean => phase === "Unknown";
  return {
    name: ({ name }) => name,
    empty: "No clusters. Add one: fleet cluster add NAME --label env=prod",
    columns: [
      { title: "CLUSTER", cell: ({ name }) => name },
      { title: "STATUS", cell: ({ phase, suspended }) => (suspended === null ? word(phase) : { text: `${phase}, suspended`, tone: "busy" }) },
      { title: "SYNC", cell: (row) => wordUnless(unknown(row), row.sync) },
      { title: "HEALTH", cell: (row) => wordUnless(unknown(row), row.health) },
      { title: "FLEETS", cell: ({ fleets }) => fleets.join(",") },
      { title: "AS OF", cell: (row) => asOfCell(row.lastSeenAt, unknown(row), now) },
      { title: "AGE", cell: ({ createdAt }) => ageOf(createdAt, now) },
      { title: "LABELS", cell: ({ labels }) => labelText(labels) },
    ],
    wide: [
      { title: "KUBERNETES", cell: ({ kubernetesVersion }) => kubernetesVersion ?? "" },
      { title: "AGENT", cell: ({ agentVersion }) => agentVersion ?? "" },
      { title: "HUB", cell: ({ hub }) => hub ?? "" },
      { title: "ENROLLED", cell: ({ enrolledAt }) => ageOf(enrolledAt, now) },
    ],
  };
}
