import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, reasonFlag } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly reason: string | undefined;
}

export const forgeRemoveCommand = buildCommand({
  docs: {
    brief: "Forget the forge of a fleet's repository, and its token",
    fullDescription: helpText("Comments and statuses that are there stay.", "fleet forge remove shop"),
  },
  parameters: { flags: { ...hubFlags, reason: reasonFlag }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    await client.removeForge(fleet, flags.reason);
    say(this, `the forge of fleet ${fleet} is forgotten`);
  },
});
