import { buildCommand } from "@stricli/core";
import type { ApprovalRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetFilter, helpText, outputFlag, positiveInteger } from "../../input/parameters.ts";
import { approvalView } from "../../render/approval-view.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly outcome: "waiting" | "used" | "void" | undefined;
  readonly limit: number;
  readonly output: ListFormat | undefined;
}

export const approveListCommand = buildCommand({
  docs: {
    brief: "List approvals: who, when, of what, and what came of them",
    fullDescription: helpText(
      "Newest first. waiting: the agent has not told yet. used: everything on the list is gone. void: the revision or the list changed before.",
      "fleet approve list",
      "fleet approve list --fleet shop --outcome void",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      fleet: fleetFilter,
      cluster: clusterFilter,
      outcome: { kind: "enum", values: ["waiting", "used", "void"], optional: true, brief: "Only waiting, used or void ones" },
      limit: { kind: "parsed", parse: positiveInteger, default: "50", placeholder: "N", brief: "At most this many" },
      output: outputFlag,
    },
    aliases: { o: "output", n: "limit" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const { fleet, cluster, outcome, limit } = flags;
    const rows = await client.all<ApprovalRow>("/approvals", { fleet, cluster, outcome }, limit);
    await printList(this, rows, flags.output ?? "table", approvalView(this.now()));
  },
});
