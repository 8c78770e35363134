import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { confirm } from "../../input/ask.ts";
import { fleetName, helpText, reasonFlag, yesFlag } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly objects: "orphan" | "delete";
  readonly reason: string | undefined;
  readonly yes: boolean;
}

export const deleteCommand = buildCommand({
  docs: {
    brief: "Delete a fleet; its objects stay unless you say otherwise",
    fullDescription: helpText(
      "The clusters stay, and by default so do the objects on them (--objects orphan). With --objects delete the agents delete what this fleet applied, within their deletion budget.",
      "fleet delete shop",
      "fleet delete shop --objects delete --yes",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      objects: { kind: "enum", values: ["orphan", "delete"], default: "orphan", brief: "What becomes of the objects on the clusters" },
      reason: reasonFlag,
      yes: yesFlag,
    },
    aliases: { y: "yes" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const fleet = await client.fleet(name);
    const fate = flags.objects === "orphan" ? "their objects stay, no longer watched" : "the objects that this fleet applied are DELETED there";
    remark(this, `Fleet ${name} governs ${fleet.tally.clusters} clusters; ${fate}.`);
    await confirm(this, `Delete fleet ${name}?`, flags.yes);
    await client.deleteFleet(name, flags.objects, flags.reason);
    say(this, `fleet ${name} is being deleted (objects: ${flags.objects})`);
  },
});
