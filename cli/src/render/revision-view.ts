import { shortRevision } from "@flotilla/proto/plain-words";
import type { RevisionRow } from "@flotilla/proto/rest/contract";
import { ageOf } from "./age.ts";
import type { Tone } from "./palette.ts";
import type { ListView } from "./print.ts";
import { phaseTones } from "./rollout-view.ts";

const tones: Readonly<Record<RevisionRow["outcome"], Tone>> = { rendered: "good", failed: "bad", superseded: "faint" };

export function revisionView(now: number): ListView<RevisionRow> {
  return {
    name: ({ revision }) => revision,
    empty: "No revision was seen yet. 'fleet status' says why; 'fleet sync FLEET' fetches now.",
    columns: [
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "SEEN", cell: ({ seenAt }) => ageOf(seenAt, now) },
      { title: "OUTCOME", cell: ({ outcome }) => ({ text: outcome, tone: tones[outcome] }) },
      { title: "ROLLOUT", cell: ({ rollout }) => (!rollout ? "" : { text: rollout.phase, tone: phaseTones[rollout.phase] }) },
      { title: "SYNCED", cell: ({ clusters }) => `${clusters.synced}/${clusters.wanted}` },
      { title: "HEALTHY", cell: ({ clusters }) => `${clusters.healthy}/${clusters.wanted}` },
      { title: "AUTHOR", cell: ({ author }) => author },
      { title: "SUBJECT", cell: ({ subject, problems }) => problems[0]?.message ?? subject },
    ],
    wide: [
      { title: "WHY", cell: ({ rollout }) => rollout?.reason ?? "" },
      { title: "COMMITTED", cell: ({ committedAt }) => ageOf(committedAt, now) },
      { title: "TRACE", cell: ({ traceId }) => traceId ?? "" },
    ],
  };
}
