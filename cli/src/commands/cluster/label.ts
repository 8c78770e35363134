import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { completeClusters } from "../../input/complete-names.ts";
import { helpText, reasonFlag, text } from "../../input/parameters.ts";
import { parseLabelChanges } from "../../input/parse-labels.ts";
import { say } from "../../render/print.ts";
import { labelText } from "../../render/status-cells.ts";

interface Flags extends HubFlags {
  readonly reason: string | undefined;
}

export const labelCommand = buildCommand({
  docs: {
    brief: "Set or remove labels of a cluster",
    fullDescription: helpText(
      "KEY=VALUE sets, KEY- removes. Fleets that select by these labels place anew at once.",
      "fleet cluster label berlin-1 tier=canary",
      "fleet cluster label berlin-1 region=eu tier-",
    ),
  },
  parameters: {
    flags: { ...hubFlags, reason: reasonFlag },
    positional: {
      kind: "array",
      minimum: 2,
      parameter: { parse: text, placeholder: "CLUSTER KEY=VALUE", brief: "The cluster, then labels", proposeCompletions: completeClusters },
    },
  },
  async func(this: FleetContext, flags: Flags, ...words: string[]): Promise<void> {
    const [name = "", ...changes] = words;
    if (name.includes("=")) throw wrongUse(`the first word is the cluster's name, and '${name}' is a label`, `fleet cluster label NAME ${words.join(" ")}`);
    const labels = parseLabelChanges(changes);
    const client = await connect(this, flags);
    const cluster = await client.labelCluster(name, labels, flags.reason);
    say(this, `cluster ${name}: ${labelText(cluster.labels) || "no labels"}`);
  },
});
