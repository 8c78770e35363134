import { durationOf, shortRevision } from "@flotilla/proto/plain-words";
import { setTimeout as delay } from "node:timers/promises";
import { buildCommand } from "@stricli/core";
import type { FleetRow, TargetRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { durationParameter, fleetName, helpText, text } from "../../input/parameters.ts";
import { defaultWaitMs, waitPollMs } from "../../limits.ts";
import { remark, say } from "../../render/print.ts";
import { problemLine } from "../../render/problem-lines.ts";

interface Flags extends HubFlags {
  readonly for: readonly string[];
  readonly timeout: number | undefined;
}

/** What is waited for; all of it at once. */
export interface Goal {
  readonly healthy: boolean;
  /** The end of the rollout: of the revision, else the newest. */
  readonly rollout: boolean;
  /** First characters of a commit. */
  readonly revision: string | undefined;
}

export const waitCommand = buildCommand({
  docs: {
    brief: "Wait until a fleet is synced, healthy, or at a revision",
    fullDescription: helpText(
      "Ends with 0 when every cluster is there, 4 when the time is over, 1 when it cannot come: the revision does not render, or its rollout ended otherwise than done.\nA cluster that is Unknown counts as not there.",
      "fleet wait shop --for healthy --timeout 5m",
      "fleet wait shop --for revision=$(git rev-parse HEAD),healthy",
      "fleet wait shop --for rollout,revision=$(git rev-parse HEAD) --timeout 1h",
      "fleet sync shop && fleet wait shop --for synced",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      for: {
        kind: "parsed",
        parse: text,
        variadic: ",",
        default: ["synced"],
        placeholder: "GOAL",
        brief: "synced, healthy, rollout (its rollout is done), or revision=COMMIT; several joined by commas",
      },
      timeout: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "Give up after this time (default 5m)" },
    },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const goal = parseGoal(flags.for);
    const timeoutMs = flags.timeout ?? defaultWaitMs;
    const client = await connect(this, flags);
    const startedAt = this.now();
    let said = "";
    while (!this.signal.aborted) {
      const missing = await whatIsMissing(client, name, goal);
      if (missing === undefined) return say(this, `fleet ${name}: ${goalText(goal)} after ${durationOf(this.now() - startedAt)}`);
      if (missing !== said) remark(this, `${durationOf(this.now() - startedAt).padStart(8)}  ${missing}`);
      said = missing;
      if (this.now() - startedAt >= timeoutMs) {
        throw new FleetError(`fleet ${name} is not ${goalText(goal)} after ${durationOf(timeoutMs)}: ${missing}`, exitCodes.timedOut, {
          hint: `fleet status ${name} -o wide; fleet events --fleet ${name}`,
        });
      }
      await delay(Math.min(waitPollMs, Math.max(1, timeoutMs - (this.now() - startedAt))), undefined, { signal: this.signal }).catch(() => undefined);
    }
  },
});

export function parseGoal(parts: readonly string[]): Goal {
  const revisions = parts.filter((part) => part.startsWith("revision=")).map((part) => part.slice("revision=".length).toLowerCase());
  const other = parts.find((part) => !["synced", "healthy", "rollout"].includes(part) && !part.startsWith("revision="));
  if (other !== undefined) throw wrongUse(`--for does not know '${other}'`, "it takes synced, healthy, rollout, revision=COMMIT");
  if (revisions.length > 1 || revisions.some((revision) => !/^[0-9a-f]{4,64}$/.test(revision))) {
    throw wrongUse("--for revision= takes one commit, at least its first 4 characters");
  }
  return { healthy: parts.includes("healthy"), rollout: parts.includes("rollout"), revision: revisions[0] };
}

function goalText({ healthy, rollout, revision }: Goal): string {
  return `${rollout ? "rolled out" : healthy ? "healthy" : "synced"}${revision === undefined ? "" : ` at ${shortRevision(revision)}`}`;
}

/** Undefined when the goal is reached; else the first thing that is not there. Throws when it cannot come. */
async function whatIsMissing(client: HubClient, name: string, goal: Goal): Promise<string | undefined> {
  const fleet = await client.fleet(name);
  const refused = refusedRevision(fleet, goal);
  if (refused) throw refused;
  if (goal.rollout) {
    const waits = await rolloutMissing(client, name, goal);
    if (waits !== undefined || !goal.healthy) return waits;
  }
  const early = fleetMissing(fleet, goal);
  if (early !== undefined) return early;
  const targets = await client.targets(name);
  return targetsMissing(fleet, targets, goal);
}

/** Undefined when the rollout is done. Throws when it ended otherwise. */
async function rolloutMissing(client: HubClient, fleet: string, { revision }: Goal): Promise<string | undefined> {
  const rollouts = await client.rollouts({ fleet }, revision === undefined ? 1 : 50);
  const rollout = rollouts.find((row) => revision === undefined || row.revision.startsWith(revision));
  if (!rollout) return revision === undefined ? "no rollout has begun" : `no rollout of ${shortRevision(revision)} has begun`;
  if (rollout.phase === "Done") return undefined;
  if (rollout.endedAt === null) return `${rollout.phase}: ${rollout.reason}`;
  throw new FleetError(`the rollout of ${shortRevision(rollout.revision)} in fleet ${fleet} ended as ${rollout.phase}: ${rollout.reason}`, exitCodes.failed, {
    hint: `fleet rollout show ${rollout.id}`,
  });
}

/** The wanted revision was seen and is bad: waiting longer changes nothing. */
function refusedRevision(fleet: FleetRow, { revision }: Goal): FleetError | undefined {
  if (revision === undefined || fleet.problems.length === 0) return undefined;
  if (fleet.seenRevision?.startsWith(revision) !== true || fleet.revision?.startsWith(revision) === true) return undefined;
  return new FleetError(`revision ${shortRevision(fleet.seenRevision)} of fleet ${fleet.name} cannot be released`, exitCodes.failed, {
    lines: fleet.problems.map((problem) => problemLine(problem, "error")),
    hint: "mend it and push again; the clusters keep the last good revision",
  });
}

/** What the fleet's own row tells without asking for its targets. */
export function fleetMissing(fleet: FleetRow, goal: Goal): string | undefined {
  const { tally } = fleet;
  if (fleet.revision === null) return fleet.source.error ?? fleet.problems[0]?.message ?? "no revision yet";
  if (goal.revision !== undefined && !fleet.revision.startsWith(goal.revision))
    return `the fleet is at ${shortRevision(fleet.revision)}${fleet.source.error === null ? "" : ` (${fleet.source.error})`}`;
  if (tally.clusters === 0) return "no cluster matches its selector";
  if (tally.synced < tally.clusters)
    return `synced on ${tally.synced} of ${tally.clusters}${tally.unknown > 0 ? `, Unknown on ${tally.unknown}` : ""}${tally.failed > 0 ? `, failed on ${tally.failed}` : ""}`;
  if (goal.healthy && tally.current < tally.clusters)
    return `healthy on ${tally.current} of ${tally.clusters}${tally.failed > 0 ? `, failed on ${tally.failed}` : ""}`;
  return undefined;
}

/** Between a new revision and its release the tally still speaks of the old one; the targets do not. */
export function targetsMissing(fleet: FleetRow, targets: readonly TargetRow[], goal: Goal): string | undefined {
  const staying = targets.filter(({ wanted }) => !wanted.removing);
  const behind = staying.find(
    ({ wanted, running, sync }) => wanted.revision !== fleet.revision || running?.generation !== wanted.generation || sync !== "Synced",
  );
  if (behind) return `${behind.cluster} runs ${shortRevision(behind.running?.revision)}, not yet ${shortRevision(fleet.revision)}`;
  const ill = goal.healthy ? staying.find(({ health }) => health !== "Current") : undefined;
  return ill && `${ill.cluster} is ${ill.health}${ill.message === "" ? "" : `: ${ill.message}`}`;
}
