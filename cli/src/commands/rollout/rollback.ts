import { shortRevision } from "@flotilla/proto/plain-words";
import { buildCommand } from "@stricli/core";
import type { RevertBranch } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { completeClusters } from "../../input/complete-names.ts";
import { documentFlag, fleetName, helpText, reasonFlag, text } from "../../input/parameters.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly to: string | undefined;
  readonly cluster: readonly string[] | undefined;
  readonly reason: string | undefined;
  readonly force: boolean;
  readonly revertBranch: boolean;
  readonly output: "json" | "yaml" | undefined;
}

export const rollbackCommand = buildCommand({
  docs: {
    brief: "Bring a fleet, or clusters of it, back to an older revision, and keep it there",
    fullDescription: helpText(
      "At once, from what the hub keeps: Git need not be reachable. The fleet is pinned: newer commits wait, drift is corrected toward the pin, until `fleet resume`. Without --to: what the fleet had before as a whole; for a cluster, what was healthy there before.\nRefused before it begins when an API server would refuse it: a claim that would shrink, a definition that would lose a version, a field that cannot be changed. --force lets everything else go back.",
      'fleet rollback shop --reason "checkout is slow"',
      "fleet rollback shop --to 3f2a91c --cluster berlin-1,paris-1",
      "fleet rollback shop --revert-branch",
      "fleet resume shop",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      to: { kind: "parsed", parse: text, optional: true, placeholder: "REV", brief: "A revision that fleet history shows, or its first characters" },
      cluster: {
        kind: "parsed",
        parse: text,
        optional: true,
        variadic: ",",
        placeholder: "CLUSTER",
        brief: "Only these clusters",
        proposeCompletions: completeClusters,
      },
      reason: reasonFlag,
      force: { kind: "boolean", default: false, withNegated: false, brief: "Also when not everything can go back" },
      revertBranch: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also offer Git the same: a branch with the fleet's folder as it was, pushed where the hub's credentials may; else a patch",
      },
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    if (flags.revertBranch && flags.cluster !== undefined)
      throw wrongUse("--revert-branch is for the whole fleet", "leave --cluster out: Git says one thing to all of its clusters");
    const client = await connect(this, flags);
    const answer = await client.rollBack(fleet, {
      force: flags.force,
      ...(flags.to !== undefined && { revision: flags.to }),
      ...(flags.cluster !== undefined && { clusters: [...flags.cluster] }),
      ...(flags.reason !== undefined && { reason: flags.reason }),
    });
    const pinned = answer.pins.find(({ cluster }) => cluster === null)?.revision;
    const revert = flags.revertBranch && pinned !== undefined ? await offerRevert(client, fleet, pinned, flags.reason) : undefined;
    if (flags.output !== undefined) return say(this, await structured({ ...answer, ...(revert && { revert }) }, flags.output));
    for (const { cluster, revision } of answer.pins)
      say(this, `${cluster === null ? `fleet ${fleet}` : `cluster ${cluster} of fleet ${fleet}`} pinned to ${shortRevision(revision)}`);
    if (revert) tellRevert(this, revert);
    remark(
      this,
      `follow it: fleet status ${fleet} --watch`,
      `let it follow Git again: fleet resume ${fleet}${flags.cluster === undefined ? "" : ` --cluster ${flags.cluster[0] ?? ""}`}`,
    );
  },
});

/** The fleet is back already: that Git could not be changed must not look as if it were not. */
async function offerRevert(client: HubClient, fleet: string, revision: string, reason: string | undefined): Promise<RevertBranch | FleetError> {
  return client.revertBranch(fleet, { revision, ...(reason !== undefined && { reason }) }).catch((error: unknown) => {
    if (error instanceof FleetError) return error;
    throw error;
  });
}

function tellRevert(context: FleetContext, revert: RevertBranch | FleetError): void {
  if (revert instanceof FleetError) return remark(context, `no revert branch: ${revert.message}`);
  if (revert.pushed) return say(context, `branch ${revert.name} pushed (${shortRevision(revert.commit)}): merge it, then fleet resume`);
  remark(context, `${revert.problem?.message ?? "not pushed"}: the patch follows, for git am`);
  say(context, revert.patch);
}
