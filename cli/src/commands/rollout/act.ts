import { shortRevision } from "@flotilla/proto/plain-words";
import { buildCommand, type Command } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, reasonFlag, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly reason: string | undefined;
}

interface ApproveFlags extends HubFlags {
  readonly reason: string;
  readonly wave: string | undefined;
}

type Act = "pause" | "resume" | "abort" | "restart";

const words: Readonly<Record<Act, { readonly brief: string; readonly description: string; readonly done: string; readonly examples: readonly string[] }>> = {
  pause: {
    brief: "Release nothing new until it is resumed",
    description: "What is released stays, and is watched. A rollback that runs is paused as well.",
    done: "paused",
    examples: ['fleet rollout pause shop --reason "looking at the canary"'],
  },
  resume: {
    brief: "Go on after a pause",
    description: "Also begins a revision that waits for a person (onNewRevision: hold).",
    done: "goes on",
    examples: ["fleet rollout resume shop"],
  },
  abort: {
    brief: "End a rollout; what is released stays",
    description: "Clusters keep what they have: the new revision where it was released, the old one elsewhere. To bring them back: fleet rollback.",
    done: "aborted",
    examples: ['fleet rollout abort shop --reason "wrong branch"', "fleet rollback shop"],
  },
  restart: {
    brief: "Roll the newest good revision out from its first wave on",
    description: "After it was rolled back, failed or was aborted. Clusters that have it already count as released.",
    done: "begins anew",
    examples: ["fleet rollout restart shop"],
  },
};

/** `fleet rollout pause|resume|abort|restart`. */
export function rolloutActCommand(act: Act): Command<FleetContext> {
  const { brief, description, done, examples } = words[act];
  return buildCommand({
    docs: { brief, fullDescription: helpText(description, ...examples) },
    parameters: { flags: { ...hubFlags, reason: reasonFlag }, positional: { kind: "tuple", parameters: [fleetName] } },
    async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
      const client = await connect(this, flags);
      const { rollout, queued } = await client.actOnRollout(fleet, act, { ...(flags.reason !== undefined && { reason: flags.reason }) });
      const revision = (act === "restart" ? (queued ?? rollout) : (rollout ?? queued))?.revision;
      say(this, `fleet ${fleet}: rollout of ${shortRevision(revision)} ${done}`);
      if (act === "pause") remark(this, `go on: fleet rollout resume ${fleet}`);
    },
  });
}

export const rolloutApproveCommand = buildCommand({
  docs: {
    brief: "Let the next wave begin",
    fullDescription: helpText(
      "For a wave whose `after` names an approval; without --wave the first that waits for one. Who, when and why are kept with the rollout and in the audit log. It takes a token that has the role which fleet.yaml names (fleet token create --role), or an administrator's.",
      'fleet rollout approve shop --reason "dashboards are green"',
      'fleet rollout approve shop --wave canary --reason "INC-12 is closed"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      reason: { kind: "parsed", parse: text, placeholder: "TEXT", brief: "Why: what was looked at" },
      wave: { kind: "parsed", parse: text, optional: true, placeholder: "WAVE", brief: "The wave that is approved" },
    },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: ApproveFlags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const { rollout } = await client.actOnRollout(fleet, "approve", {
      reason: flags.reason,
      ...(flags.wave !== undefined && { wave: flags.wave }),
    });
    say(
      this,
      `fleet ${fleet}: wave ${flags.wave ?? rollout?.waves.findLast(({ approved }) => approved !== null)?.name ?? ""} of ${shortRevision(rollout?.revision)} approved`,
    );
  },
});
