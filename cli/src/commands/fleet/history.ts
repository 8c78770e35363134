import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, outputFlag, positiveInteger } from "../../input/parameters.ts";
import { type ListFormat, printList } from "../../render/print.ts";
import { revisionView } from "../../render/revision-view.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly limit: number;
}

export const historyCommand = buildCommand({
  docs: {
    brief: "List a fleet's revisions, newest first",
    fullDescription: helpText(
      "Each with its outcome and how many clusters have it.",
      "fleet history shop",
      "fleet trace $(fleet history shop -o name --limit 1)",
    ),
  },
  parameters: {
    flags: { ...hubFlags, output: outputFlag, limit: { kind: "parsed", parse: positiveInteger, default: "20", placeholder: "N", brief: "At most this many" } },
    aliases: { o: "output", n: "limit" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.revisions(name, flags.limit), flags.output ?? "table", revisionView(this.now()));
  },
});
