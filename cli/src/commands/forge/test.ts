import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

export const forgeTestCommand = buildCommand({
  docs: {
    brief: "Ask the forge what the token may do",
    fullDescription: helpText("Reads the repository with the token that the hub has; changes nothing.", "fleet forge test shop"),
  },
  parameters: { flags: hubFlags, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: HubFlags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    say(this, (await client.testForge(fleet)).message);
  },
});
