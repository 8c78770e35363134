import { buildCommand } from "@stricli/core";
import type { Suspension } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetFilter, helpText, outputFlag } from "../../input/parameters.ts";
import { agoOf } from "../../render/age.ts";
import { type ListFormat, type ListView, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
}

export const suspensionsCommand = buildCommand({
  docs: {
    brief: "What is suspended, by whom and why",
    fullDescription: helpText("Every suspension that has not been ended.", "fleet suspensions", "fleet suspensions --fleet shop -o json"),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag, fleet: fleetFilter, cluster: clusterFilter }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const rows = await client.suspensions({ fleet: flags.fleet, cluster: flags.cluster });
    await printList(this, rows, flags.output ?? "table", suspensionView(this.now()));
  },
});

function suspensionView(now: number): ListView<Suspension> {
  return {
    name: ({ fleet, cluster, bundle }) => [fleet ?? "*", cluster ?? "*", bundle ?? "*"].join("/"),
    empty: "Nothing is suspended.",
    columns: [
      { title: "FLEET", cell: ({ fleet }) => fleet ?? "all" },
      { title: "CLUSTER", cell: ({ cluster }) => cluster ?? "all" },
      { title: "BUNDLE", cell: ({ bundle }) => bundle ?? "all" },
      { title: "BY", cell: ({ by }) => by },
      { title: "SINCE", cell: ({ since }) => agoOf(since, now) },
      { title: "REASON", cell: ({ reason }) => reason },
    ],
  };
}
