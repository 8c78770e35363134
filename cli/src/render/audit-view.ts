import type { AuditRow } from "@flotilla/proto/rest/contract";
import { ageOf } from "./age.ts";
import type { ListView } from "./print.ts";

export function auditView(now: number): ListView<AuditRow> {
  return {
    name: ({ seq }) => String(seq),
    empty: "No acts.",
    columns: [
      { title: "SEQ", cell: ({ seq }) => String(seq) },
      { title: "AGE", cell: ({ at }) => ageOf(at, now) },
      { title: "ACTOR", cell: ({ actor, actorName }) => actorName || actor },
      { title: "ACT", cell: ({ act }) => act },
      { title: "ON", cell: ({ fleet, cluster }) => [fleet, cluster].filter((name) => name !== "").join("/") },
      { title: "OUTCOME", cell: ({ outcome }) => ({ text: outcome, tone: outcome === "done" ? "plain" : "bad" }) },
      { title: "REASON", cell: ({ reason, details }) => reason || refusalOf(details) },
    ],
    wide: [
      { title: "TOKEN", cell: ({ actor }) => actor },
      { title: "SOURCE", cell: ({ source }) => source },
      { title: "AT", cell: ({ at }) => at },
      { title: "DETAILS", cell: ({ details }) => JSON.stringify(details) },
      { title: "HASH", cell: ({ hash }) => hash.slice(0, 12) },
    ],
  };
}

function refusalOf({ refusal }: AuditRow["details"]): string {
  return typeof refusal === "string" ? refusal : "";
}
