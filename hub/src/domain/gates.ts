import { gateAskAgainMs } from "../limits.ts";
import type { JobGate, MetricGate, RolloutSpec } from "./fleet-spec.ts";
import type { GateAsk, GateState } from "./rollout.ts";

/** What one cluster is asked. */
export type GateQuestion = { readonly revision: string; readonly wave: string } & (
  | { readonly kind: "metric"; readonly metric: MetricGate }
  | { readonly kind: "job"; readonly job: JobGate }
);

/** Which Job nobody waits for any more: that of the command which asked. */
export interface EndedGate {
  readonly command: string;
  readonly gate: string;
  readonly namespace: string;
}

/** What one cluster said; `verdict` is null until it did. */
export interface GateAnswer {
  readonly cluster: string;
  readonly verdict: Exclude<GateState["verdict"], "asked"> | null;
  readonly message: string;
}

/** What is to be asked, and for how long (ms) an answer counts; undefined when the plan has no such gate. */
export function questionOf(
  plan: RolloutSpec,
  revision: string,
  { wave, name, kind }: GateAsk,
): { readonly question: GateQuestion; readonly lifeMs: number } | undefined {
  const spec = plan.waves[wave];
  const asked = { revision, wave: spec?.name ?? "" };
  if (kind === "metric") {
    const metric = spec?.after.metrics.find((gate) => gate.name === name);
    return metric && { question: { ...asked, kind, metric }, lifeMs: gateAskAgainMs };
  }
  const job = spec?.after.jobs.find((gate) => gate.name === name);
  return job && { question: { ...asked, kind, job }, lifeMs: job.timeoutMs + gateAskAgainMs };
}

/**
 * What the clusters' answers come to: one that failed is enough; all have to pass; one that could not be asked is told when all the others
 * have answered. Until then it is being asked.
 */
export function foldAnswers(answers: readonly GateAnswer[]): Pick<GateState, "verdict" | "message"> {
  const those = (verdict: GateAnswer["verdict"]): readonly GateAnswer[] => answers.filter((answer) => answer.verdict === verdict);
  const failed = those("failed");
  if (failed.length > 0) return { verdict: "failed", message: tell(failed) };
  const open = those(null);
  if (open.length > 0 || answers.length === 0)
    return { verdict: "asked", message: `${answers.length - open.length} of ${answers.length} clusters have answered${tellOpen(open)}` };
  const unknown = those("unknown");
  if (unknown.length > 0) return { verdict: "unknown", message: tell(unknown) };
  return { verdict: "passed", message: answers.length === 1 ? tell(answers) : `passed on ${answers.length} clusters` };
}

const namesShown = 3;

/** Whom it waits for, by name. */
function tellOpen(open: readonly GateAnswer[]): string {
  const names = open.map(({ cluster }) => cluster).sort();
  const more = names.length - namesShown;
  return names.length === 0 ? "" : `, it waits for ${names.slice(0, namesShown).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** The first, by name, and how many say the same kind of thing. */
function tell(answers: readonly GateAnswer[]): string {
  const [first, ...others] = [...answers].sort((left, right) => (left.cluster < right.cluster ? -1 : 1));
  if (!first) return "";
  return `${first.cluster}: ${first.message}${others.length === 0 ? "" : ` (and ${others.length} more)`}`;
}
