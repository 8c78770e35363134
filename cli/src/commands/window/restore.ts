import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { scopeFlags, type ScopeFlags, scopeOf, tellScope } from "../../input/act-scope.ts";
import { fleetName, helpText, reasonFlag } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

interface Flags extends HubFlags, ScopeFlags {
  readonly reason: string | undefined;
}

export const restoreCommand = buildCommand({
  docs: {
    brief: "Let the sync windows count again",
    fullDescription: helpText("Ends an override before its time.", "fleet window restore shop", "fleet window restore shop --bundle api"),
  },
  parameters: { flags: { ...hubFlags, ...scopeFlags, reason: reasonFlag }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const scope = scopeOf(fleet, flags);
    const client = await connect(this, flags);
    await client.endOverride({ ...scope }, flags.reason);
    say(this, `sync windows of ${tellScope(scope)} count again`);
  },
});
