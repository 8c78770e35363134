import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetName, helpText } from "../../input/parameters.ts";
import { shortRevision } from "../../render/age.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly cluster: string | undefined;
}

export const syncCommand = buildCommand({
  docs: {
    brief: "Fetch now, and let the clusters reconcile now",
    fullDescription: helpText(
      "The hub fetches at once instead of waiting for its next poll or a webhook, and tells the agents to look again.",
      "fleet sync shop",
      "fleet sync shop --cluster berlin-1",
      "fleet sync shop && fleet wait shop --for healthy",
    ),
  },
  parameters: { flags: { ...hubFlags, cluster: clusterFilter }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const { revision } = await client.syncFleet(name, flags.cluster);
    say(
      this,
      `fleet ${name}: sync asked for${flags.cluster === undefined ? "" : ` on ${flags.cluster}`}${revision === null ? "" : `; it is at ${shortRevision(revision)}`}`,
    );
    remark(this, `wait for it: fleet wait ${name} --for healthy`);
  },
});
