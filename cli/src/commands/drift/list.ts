import { buildCommand } from "@stricli/core";
import { checkFilters } from "../../connect/check-filters.ts";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetFilter, helpText, outputFlag } from "../../input/parameters.ts";
import { driftView } from "../../render/drift-view.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly open: boolean;
}

export const listCommand = buildCommand({
  docs: {
    brief: "List what differed from Git, healed or not",
    fullDescription: helpText(
      "One row per object and episode: who wrote, how often, since when.",
      "fleet drift list",
      "fleet drift list --open",
      "fleet drift list --fleet shop --cluster berlin-1 -o wide",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      output: outputFlag,
      fleet: fleetFilter,
      cluster: clusterFilter,
      open: { kind: "boolean", default: false, withNegated: false, brief: "Only what is not healed" },
    },
    aliases: { o: "output" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const rows = await client.drift({ fleet: flags.fleet, cluster: flags.cluster, ...(flags.open && { open: true }) });
    await checkFilters(client, rows, flags);
    await printList(this, rows, flags.output ?? "table", driftView(this.now()));
  },
});
