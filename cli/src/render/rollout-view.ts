import { cleanText, durationOf, shortRevision } from "@flotilla/proto/plain-words";
import type {
  HoldRow,
  PinRow,
  ReleaseRow,
  RolloutClusterRow,
  RolloutDecisionRow,
  RolloutPhaseWord,
  RolloutRow,
  RolloutStatus,
  WaveRow,
} from "@flotilla/proto/rest/contract";
import { ageOf, agoOf } from "./age.ts";
import type { Paint, Tone } from "./palette.ts";
import type { ListView } from "./print.ts";
import { tableLines } from "./table.ts";

export const phaseTones: Readonly<Record<RolloutPhaseWord, Tone>> = {
  Queued: "faint",
  Running: "busy",
  RollingBack: "bad",
  Done: "good",
  RolledBack: "bad",
  Failed: "bad",
  Aborted: "unsure",
  Superseded: "faint",
  Skipped: "faint",
};

/** Columns of `fleet rollout list`. */
export function rolloutView(now: number): ListView<RolloutRow> {
  return {
    name: ({ id }) => String(id),
    empty: "No rollouts yet.",
    columns: [
      { title: "ID", cell: ({ id }) => String(id) },
      { title: "FLEET", cell: ({ fleet }) => fleet },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "PHASE", cell: ({ phase }) => ({ text: phase, tone: phaseTones[phase] }) },
      { title: "STARTED", cell: ({ startedAt }) => agoOf(startedAt, now) },
      { title: "TOOK", cell: ({ startedAt, endedAt }) => durationOf((endedAt === null ? now : Date.parse(endedAt)) - Date.parse(startedAt)) },
      { title: "REASON", cell: ({ reason }) => reason },
    ],
    wide: [
      { title: "FROM", cell: ({ from }) => shortRevision(from) },
      { title: "SUBJECT", cell: ({ subject }) => subject },
      { title: "FAILED FIRST", cell: ({ failure }) => (failure === null ? "" : `${failure.cluster} ${failure.message}`) },
    ],
  };
}

/** Columns of a rollout's history. */
export function decisionView(now: number): ListView<RolloutDecisionRow> {
  return {
    name: ({ id }) => String(id),
    empty: "Nothing was decided yet.",
    columns: [
      { title: "AGE", cell: ({ at }) => ageOf(at, now) },
      { title: "WHAT", cell: ({ kind }) => kind },
      { title: "CLUSTERS", cell: ({ clusters }) => (clusters === 0 ? "" : String(clusters)) },
      { title: "BY", cell: ({ by }) => by },
      { title: "REASON", cell: ({ reason }) => reason },
    ],
  };
}

const markTones: Readonly<Record<string, Tone>> = {
  Healthy: "good",
  Updating: "busy",
  Failed: "bad",
  Skipped: "unsure",
  RolledBack: "bad",
  Kept: "faint",
  Waiting: "faint",
};

/** Columns of a rollout's clusters; `waves` are the names by index. */
export function rolloutClusterView(waves: readonly string[], now: number): ListView<RolloutClusterRow> {
  return {
    name: ({ cluster }) => cluster,
    empty: "No cluster was counted yet.",
    columns: [
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "WAVE", cell: ({ wave }) => waves[wave] ?? String(wave + 1) },
      { title: "STATE", cell: ({ mark }) => ({ text: mark, tone: markTones[mark] ?? "plain" }) },
      { title: "SINCE", cell: ({ since }) => ageOf(since, now) },
      { title: "RELEASED", cell: ({ releasedAt }) => (releasedAt === null ? "" : agoOf(releasedAt, now)) },
      { title: "WHY", cell: ({ why }) => why },
    ],
  };
}

/** Columns of what was released. */
export function releaseView(now: number): ListView<ReleaseRow> {
  return {
    name: ({ revision }) => revision,
    empty: "Nothing was released there, as far as is kept.",
    columns: [
      { title: "FLEET", cell: ({ fleet }) => fleet },
      { title: "CLUSTER", cell: ({ cluster }) => cluster },
      { title: "REVISION", cell: ({ revision }) => shortRevision(revision) },
      { title: "RELEASED", cell: ({ releasedAt }) => agoOf(releasedAt, now) },
      {
        title: "HEALTHY AFTER",
        cell: ({ releasedAt, healthyAt }) =>
          healthyAt === null ? { text: "not yet", tone: "unsure" } : durationOf(Date.parse(healthyAt) - Date.parse(releasedAt)),
      },
      { title: "CAUSE", cell: ({ cause, rollout }) => (rollout === null ? cause : `${cause} ${rollout}`) },
    ],
    wide: [
      { title: "AT", cell: ({ releasedAt }) => releasedAt },
      { title: "GENERATION", cell: ({ generation }) => String(generation) },
      { title: "DIGEST", cell: ({ digest }) => digest.slice(0, 12) },
    ],
  };
}

/** The wave board: what a fleet's rollout does, in which wave, what it waits for, and what people said. */
export function boardLines(status: RolloutStatus, now: number, paint: Paint): string[] {
  const { rollout, queued } = status;
  const lines: string[] = [];
  if (rollout === null) lines.push("no rollout yet");
  else {
    const { phase, revision, from, subject, startedAt, endedAt } = rollout;
    const when = endedAt === null ? `begun ${agoOf(startedAt, now)}` : `ended ${agoOf(endedAt, now)}`;
    lines.push(
      `${paint(phase, phaseTones[phase])}   ${shortRevision(revision)}${from === null ? "" : ` (before: ${shortRevision(from)})`}, ${when}${subject === "" ? "" : `: ${subject}`}`,
    );
    if (rollout.reason !== "") lines.push(`${rollout.reason}${untilText(rollout.until, now)}`);
    if (rollout.failure !== null) lines.push(paint(`failed first: ${[rollout.failure.cluster, rollout.failure.message].filter(Boolean).join(": ")}`, "bad"));
    lines.push("", ...waveLines(rollout, paint));
    for (const { kind, name, verdict, message } of rollout.gates)
      lines.push(
        `${kind} gate ${name}: ${paint(verdict, verdict === "passed" ? "good" : verdict === "failed" ? "bad" : "busy")}${message === "" ? "" : `, ${message}`}`,
      );
  }
  if (queued !== null) lines.push("", `next: ${shortRevision(queued.revision)} ${queued.reason === "" ? "waits" : queued.reason}`);
  return [...lines, ...keepLines(status, now, paint)].map(cleanLine);
}

/** For the heading of a status: a line while a rollout runs, waits or ended badly, and what keeps the fleet. */
export function rolloutSummary({ rollout, queued, ...keeps }: RolloutStatus, now: number, paint: Paint): string[] {
  const lines: string[] = [];
  if (rollout !== null && rollout.phase !== "Done" && rollout.phase !== "Superseded")
    lines.push(
      `rollout of ${shortRevision(rollout.revision)}: ${paint(rollout.phase, phaseTones[rollout.phase])}${rollout.reason === "" ? "" : `, ${cleanText(rollout.reason)}`}${untilText(rollout.until, now)}`,
    );
  if (queued !== null) lines.push(`next: ${shortRevision(queued.revision)} ${queued.reason === "" ? "waits" : cleanText(queued.reason)}`);
  return [...lines, ...keepLines(keeps, now, paint)];
}

/** Without losing the colours that paint gave. */
function cleanLine(line: string): string {
  return line.includes("\u001B[") ? line : cleanText(line);
}

/** What keeps a fleet from following Git: pins, holds, the freeze of all. */
export function keepLines({ pins, holds }: Pick<RolloutStatus, "pins" | "holds">, now: number, paint: Paint): string[] {
  return [
    ...holds.map((hold) => paint(holdLine(hold, now), "busy")),
    ...pins.slice(0, pinsShown).map((pin) => paint(pinLine(pin, now), "busy")),
    ...more(pins.length),
  ];
}

const pinsShown = 10;

function more(pins: number): string[] {
  return pins > pinsShown ? [`… and ${pins - pinsShown} more pinned clusters`] : [];
}

export function pinLine({ cluster, revision, by, reason, at }: PinRow, now: number): string {
  return `${cluster === null ? "pinned" : `${cluster} pinned`} to ${shortRevision(revision)} by ${by}${reason === "" ? "" : `: ${reason}`}, ${agoOf(at, now)}`;
}

export function holdLine({ fleet, by, reason, at, until }: HoldRow, now: number): string {
  return `${fleet === null ? "all fleets frozen" : "held"}${until === null ? "" : ` until ${until}`} by ${by}${reason === "" ? "" : `: ${reason}`}, ${agoOf(at, now)}`;
}

function untilText(until: string | null, now: number): string {
  if (until === null) return "";
  const ms = Date.parse(until) - now;
  return ms > 0 ? ` (in ${durationOf(ms)} at the latest)` : "";
}

function waveLines({ waves, wave: reached, phase }: RolloutRow, paint: Paint): string[] {
  const isOver = phase === "Done";
  const count = (of: WaveRow, mark: string): string | { text: string; tone: Tone } =>
    of.marks[mark] === undefined ? "" : { text: String(of.marks[mark]), tone: markTones[mark] ?? "plain" };
  const rows = waves.map((wave, index) => ({ wave, state: isOver || index < reached ? "✓" : index === reached ? "▶" : "" }));
  return tableLines(
    [
      { title: "", cell: ({ state }) => ({ text: state === "" ? "·" : state, tone: state === "✓" ? "good" : "busy" }) },
      { title: "WAVE", cell: ({ wave }) => wave.name },
      { title: "CLUSTERS", cell: ({ wave }) => String(wave.clusters) },
      ...["Waiting", "Updating", "Healthy", "Failed", "Skipped", "RolledBack", "Kept"].map((mark) => ({
        title: mark === "RolledBack" ? "ROLLED BACK" : mark.toUpperCase(),
        cell: ({ wave }: (typeof rows)[number]) => count(wave, mark),
      })),
      { title: "AFTER", cell: ({ wave }) => afterText(wave) },
    ],
    rows,
    paint,
  );
}

function afterText({ soakMs, approval, approved }: WaveRow): string {
  const parts = [
    ...(soakMs > 0 ? [`soak ${durationOf(soakMs)}`] : []),
    ...(approval === null ? [] : [approved === null ? `approval by ${approval}` : `approved by ${approved.by}`]),
  ];
  return parts.join(", ");
}
