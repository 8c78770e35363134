import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, outputFlag, positiveInteger } from "../../input/parameters.ts";
import { type ListFormat, printList } from "../../render/print.ts";
import { rolloutView } from "../../render/rollout-view.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly limit: number;
}

export const rolloutListCommand = buildCommand({
  docs: {
    brief: "List rollouts, newest first",
    fullDescription: helpText("Of one fleet, or of all; each with how it ended and why.", "fleet rollout list shop", "fleet rollout list -o wide --limit 50"),
  },
  parameters: {
    flags: { ...hubFlags, output: outputFlag, limit: { kind: "parsed", parse: positiveInteger, default: "20", placeholder: "N", brief: "At most this many" } },
    aliases: { o: "output", n: "limit" },
    positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] },
  },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.rollouts({ fleet }, flags.limit), flags.output ?? "table", rolloutView(this.now()));
  },
});
