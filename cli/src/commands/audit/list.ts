import { buildCommand } from "@stricli/core";
import type { AuditRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetFilter, helpText, outputFlag, positiveInteger, text } from "../../input/parameters.ts";
import { auditView } from "../../render/audit-view.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly actor: string | undefined;
  readonly act: string | undefined;
  readonly limit: number;
  readonly output: ListFormat | undefined;
}

export const auditListCommand = buildCommand({
  docs: {
    brief: "List who did what, when, from where and why",
    fullDescription: helpText(
      "Oldest first. Every act of a person or token is here, written before it took effect; what the hub refused is here too, with the reason.",
      "fleet audit list",
      "fleet audit list --fleet shop -o wide",
      "fleet audit list --act cluster.remove -o json",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      fleet: fleetFilter,
      cluster: clusterFilter,
      actor: { kind: "parsed", parse: text, optional: true, placeholder: "TOKEN", brief: "Only of the token with this id" },
      act: { kind: "parsed", parse: text, optional: true, placeholder: "ACT", brief: "Only these acts, e.g. fleet.delete" },
      limit: { kind: "parsed", parse: positiveInteger, default: "50", placeholder: "N", brief: "At most this many, the newest" },
      output: outputFlag,
    },
    aliases: { o: "output", n: "limit" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const { fleet, cluster, actor, act, limit } = flags;
    const newest = await client.all<AuditRow>("/audit", { fleet, cluster, actor, act }, limit);
    await printList(this, newest.toReversed(), flags.output ?? "table", auditView(this.now()));
  },
});
