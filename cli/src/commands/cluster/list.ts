import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetFilter, helpText, outputFlag, text, watchFlag } from "../../input/parameters.ts";
import { clusterView } from "../../render/cluster-view.ts";
import { showLive } from "../../render/live-view.ts";
import { paintFor } from "../../render/palette.ts";
import { type ListFormat, printList, structured } from "../../render/print.ts";
import { tableLines } from "../../render/table.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly watch: boolean;
  readonly selector: string | undefined;
  readonly fleet: string | undefined;
  readonly phase: "Pending" | "Connected" | "Unknown" | undefined;
}

export const listCommand = buildCommand({
  docs: {
    brief: "List the clusters",
    fullDescription: helpText(
      "A cluster whose agent is silent for longer than its lease is Unknown, with the age of its last word.",
      "fleet cluster list",
      "fleet cluster list -l env=prod,region!=us -o wide",
      "fleet cluster list --phase Unknown -o name",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      output: outputFlag,
      watch: watchFlag,
      selector: { kind: "parsed", parse: text, optional: true, placeholder: "LABELS", brief: "Only clusters with these labels, as kubectl selects" },
      fleet: fleetFilter,
      phase: { kind: "enum", values: ["Pending", "Connected", "Unknown"], optional: true, brief: "Only clusters in this state" },
    },
    aliases: { o: "output", w: "watch", l: "selector" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const format = flags.output ?? "table";
    const read = () => client.clusters({ labelSelector: flags.selector, fleet: flags.fleet, phase: flags.phase });
    if (!flags.watch) return printList(this, await read(), format, clusterView(this.now()));
    const draw = async (): Promise<readonly string[]> => {
      const rows = await read();
      const view = clusterView(this.now());
      if (format === "json" || format === "yaml") return [await structured({ items: rows }, format)];
      if (format === "name") return rows.map(view.name);
      return tableLines(format === "wide" ? [...view.columns, ...(view.wide ?? [])] : view.columns, rows, paintFor(this.process.stdout, this.env));
    };
    return showLive(this, client, { fleet: flags.fleet, draw, document: format === "json" || format === "yaml" });
  },
});
