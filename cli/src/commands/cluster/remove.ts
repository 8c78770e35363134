import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { confirm } from "../../input/ask.ts";
import { clusterName, helpText, reasonFlag, yesFlag } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly reason: string | undefined;
  readonly yes: boolean;
}

export const removeCommand = buildCommand({
  docs: {
    brief: "Remove a cluster: its agent is locked out within 5 s, its workloads stay",
    fullDescription: helpText(
      "Revokes the agent's certificate and ends its connection. Nothing on the cluster is deleted: uninstall the agent there with 'fleet agent uninstall'.",
      "fleet cluster remove berlin-1",
      "fleet cluster remove berlin-1 --yes",
    ),
  },
  parameters: { flags: { ...hubFlags, reason: reasonFlag, yes: yesFlag }, aliases: { y: "yes" }, positional: { kind: "tuple", parameters: [clusterName] } },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const cluster = await client.cluster(name);
    remark(
      this,
      `Removing cluster ${name} (${cluster.phase}):`,
      `- its agent's certificate is revoked, and it is cut off within 5 s`,
      `- ${cluster.fleets.length === 0 ? "no fleet governs it" : `it leaves ${cluster.fleets.join(", ")}`}`,
      "- what runs there keeps running; nothing on the cluster is deleted",
      "- its drift, events and history here are forgotten",
    );
    await confirm(this, `Remove cluster ${name}?`, flags.yes);
    await client.removeCluster(name, flags.reason);
    say(this, `cluster ${name} removed`);
    remark(this, "on the cluster: fleet agent uninstall");
  },
});
