import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, reasonFlag, text } from "../../input/parameters.ts";
import { parseTime } from "../../input/parse-time.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly until: string | undefined;
  readonly reason: string;
}

const until = {
  kind: "parsed",
  parse: (input: string): string => parseTime(input, Date.now()),
  placeholder: "TIME",
  brief: "Until then: 2026-12-27T08:00Z, 2026-12-27, or from now on: 4h",
} as const;
const reason = { kind: "parsed", parse: text, placeholder: "TEXT", brief: "Why: shown with the status, kept in the audit log" } as const;

export const holdCommand = buildCommand({
  docs: {
    brief: "Release nothing new to a fleet",
    fullDescription: helpText(
      "Commits are rendered and wait; drift is still corrected. Until the time is over, or `fleet resume`. A rollback is not held up.",
      'fleet hold shop --reason "load test" --until 4h',
      "fleet resume shop",
    ),
  },
  parameters: { flags: { ...hubFlags, until: { ...until, optional: true }, reason }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const held = await client.hold({ fleet, reason: flags.reason, ...(flags.until !== undefined && { until: flags.until }) });
    say(this, `fleet ${fleet} held${held.until === null ? "" : ` until ${held.until}`}`);
    remark(this, `end it: fleet resume ${fleet}`);
  },
});

interface FreezeFlags extends HubFlags {
  readonly until: string;
  readonly reason: string;
}

export const freezeCommand = buildCommand({
  docs: {
    brief: "Release nothing new to any fleet until a time",
    fullDescription: helpText(
      "For holidays and incidents: as `fleet hold`, for all fleets, also those that come.",
      'fleet freeze --until 2026-12-27T08:00Z --reason "holidays"',
      "fleet unfreeze",
    ),
  },
  parameters: { flags: { ...hubFlags, until, reason } },
  async func(this: FleetContext, flags: FreezeFlags): Promise<void> {
    const client = await connect(this, flags);
    const held = await client.hold({ reason: flags.reason, until: flags.until });
    say(this, `all fleets are frozen until ${held.until ?? ""}`);
    remark(this, "end it before: fleet unfreeze");
  },
});

interface UnfreezeFlags extends HubFlags {
  readonly reason: string | undefined;
}

export const unfreezeCommand = buildCommand({
  docs: { brief: "End the freeze of all fleets", fullDescription: helpText("What waited begins. Holds of single fleets stay.", "fleet unfreeze") },
  parameters: { flags: { ...hubFlags, reason: reasonFlag } },
  async func(this: FleetContext, flags: UnfreezeFlags): Promise<void> {
    await (await connect(this, flags)).unfreeze(flags.reason);
    say(this, "fleets go on");
  },
});
