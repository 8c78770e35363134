import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag } from "../../input/parameters.ts";
import { fleetListView } from "../../render/fleet-view.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
}

export const listCommand = buildCommand({
  docs: {
    brief: "List the fleets",
    fullDescription: helpText("Every fleet with its source. 'fleet status' tells how they do.", "fleet list", "fleet list -o name"),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.fleets(), flags.output ?? "table", fleetListView(this.now()));
  },
});
