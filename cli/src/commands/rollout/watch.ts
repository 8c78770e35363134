import { durationOf, shortRevision } from "@flotilla/proto/plain-words";
import { setTimeout as delay } from "node:timers/promises";
import { buildCommand } from "@stricli/core";
import type { RolloutRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import { durationParameter, fleetName, helpText } from "../../input/parameters.ts";
import { waitPollMs } from "../../limits.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly timeout: number | undefined;
}

export const rolloutWatchCommand = buildCommand({
  docs: {
    brief: "Follow a fleet's rollout to its end",
    fullDescription: helpText(
      "Prints a line whenever something changes. Ends with 0 when it is done, 1 when it was rolled back, failed or was aborted, 4 when the time is over. A newer revision that takes its place is followed instead.",
      "fleet rollout watch shop",
      "git push && fleet sync shop && fleet rollout watch shop --timeout 30m",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      timeout: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "Give up after this time (default: never)" },
    },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const startedAt = this.now();
    let told = "";
    while (!this.signal.aborted) {
      const { rollout, queued } = await client.rollout(fleet);
      const line = rollout === null ? "no rollout yet" : lineOf(rollout);
      if (line !== told) remark(this, `${durationOf(this.now() - startedAt).padStart(8)}  ${line}`);
      told = line;
      if (rollout !== null && rollout.endedAt !== null && queued === null) return tellEnd(this, fleet, rollout);
      if (flags.timeout !== undefined && this.now() - startedAt >= flags.timeout)
        throw new FleetError(`the rollout of fleet ${fleet} has not ended after ${durationOf(flags.timeout)}: ${line}`, exitCodes.timedOut, {
          hint: `fleet rollout status ${fleet}`,
        });
      await delay(waitPollMs, undefined, { signal: this.signal }).catch(() => undefined);
    }
  },
});

function lineOf({ revision, phase, reason, waves }: RolloutRow): string {
  const marks = new Map<string, number>();
  for (const wave of waves) for (const [mark, count] of Object.entries(wave.marks)) marks.set(mark, (marks.get(mark) ?? 0) + count);
  const counts = [...marks].map(([mark, count]) => `${count} ${mark}`).join(", ");
  return [`${shortRevision(revision)} ${phase}`, counts, reason].filter((part) => part !== "").join("; ");
}

function tellEnd(context: FleetContext, fleet: string, { revision, phase, reason, failure }: RolloutRow): void {
  if (phase === "Done") return say(context, `fleet ${fleet}: ${shortRevision(revision)} is rolled out: ${reason}`);
  throw new FleetError(`the rollout of ${shortRevision(revision)} to fleet ${fleet} ended as ${phase}: ${reason}`, exitCodes.failed, {
    ...(failure !== null && { lines: [`failed first: ${[failure.cluster, failure.message].filter(Boolean).join(": ")}`] }),
    hint: `fleet rollout status ${fleet}; fleet rollout restart ${fleet} tries it again`,
  });
}
