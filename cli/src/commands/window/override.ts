import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { scopeFlags, type ScopeFlags, scopeOf, tellScope } from "../../input/act-scope.ts";
import { durationParameter, fleetName, helpText, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags, ScopeFlags {
  readonly reason: string;
  readonly for: number;
}

export const overrideCommand = buildCommand({
  docs: {
    brief: "Open the sync windows of a fleet for some time, in an emergency",
    fullDescription: helpText(
      "Until then what Git says is applied although a sync window is closed. Who did it, why and until when is in the audit log and in the events.",
      'fleet window override shop --for 1h --reason "fix for the outage of today"',
      'fleet window override shop --bundle api --cluster berlin-1 --for 30m --reason "INC-4711"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      ...scopeFlags,
      for: { kind: "parsed", parse: durationParameter, placeholder: "TIME", brief: "How long they stay open, at most a week: 30m, 2h" },
      reason: { kind: "parsed", parse: text, placeholder: "TEXT", brief: "Why, for the audit log" },
    },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const scope = scopeOf(fleet, flags);
    const client = await connect(this, flags);
    const { until } = await client.overrideWindows({ ...scope, fleet, reason: flags.reason, forMs: flags.for });
    say(this, `sync windows of ${tellScope(scope)} are open until ${until}`);
    remark(this, `end it before: fleet window restore ${fleet}`);
  },
});
