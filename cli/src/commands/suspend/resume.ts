import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { scopeFlags, type ScopeFlags, scopeOf, tellScope } from "../../input/act-scope.ts";
import { fleetName, helpText, reasonFlag } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

interface Flags extends HubFlags, ScopeFlags {
  readonly reason: string | undefined;
}

export const resumeCommand = buildCommand({
  docs: {
    brief: "Let go on what was suspended",
    fullDescription: helpText(
      "Ends the suspension that was made with the same fleet and flags: what Git says by now is applied, and what drifted is corrected. Other suspensions stay.",
      "fleet resume shop",
      "fleet resume shop --bundle db --cluster berlin-1",
      "fleet resume --cluster berlin-1",
    ),
  },
  parameters: { flags: { ...hubFlags, ...scopeFlags, reason: reasonFlag }, positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] } },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const scope = scopeOf(fleet, flags);
    const client = await connect(this, flags);
    await client.resume({ ...scope }, flags.reason);
    say(this, `${tellScope(scope)} resumed`);
  },
});
