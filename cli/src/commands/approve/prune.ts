import { buildCommand } from "@stricli/core";
import type { HeldPruneRow, ObjectRow, PruneApprovals } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { confirm } from "../../input/ask.ts";
import { clusterFilter, documentFlag, fleetName, helpText, parseDigest, reasonFlag, text, yesFlag } from "../../input/parameters.ts";
import { approvalsAtOnce } from "../../limits.ts";
import { heldHeading, heldObjectLines } from "../../render/approval-view.ts";
import { counted } from "../../render/counted.ts";
import { paintFor } from "../../render/palette.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly cluster: string | undefined;
  readonly allClusters: boolean;
  readonly revision: string | undefined;
  readonly digest: string | undefined;
  readonly reason: string | undefined;
  readonly yes: boolean;
  readonly output: "json" | "yaml" | undefined;
}

/** Clusters that hold exactly the same list for the same revision: seen and approved together. */
interface HeldGroup {
  readonly revision: string;
  readonly digest: string;
  readonly clusters: readonly string[];
  readonly rows: readonly HeldPruneRow[];
}

export const approvePruneCommand = buildCommand({
  docs: {
    brief: "Let deletions go that an agent holds, after showing them",
    fullDescription: helpText(
      "An agent deletes no protected kind, and no more than its budget, without a person's word. This shows the list that it holds, asks, and lets exactly that list go, for that revision: when either changes before the agent has it, the approval is void.\nWithout a terminal give --digest of the list that a person saw ('fleet approve prune FLEET -o json' prints it), or --yes for whatever is held now.\nWith -o json and neither of the two, it only prints the lists.",
      "fleet approve prune shop --cluster berlin-1",
      "fleet approve prune shop --all-clusters --reason 'the old broker is retired'",
      "fleet approve prune shop --cluster berlin-1 --digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      "fleet approve prune shop --all-clusters -o json",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      cluster: { ...clusterFilter, brief: "The cluster whose list it is" },
      allClusters: { kind: "boolean", default: false, withNegated: false, brief: "Every cluster; those with the same list are shown and asked for together" },
      revision: { kind: "parsed", parse: text, optional: true, placeholder: "REV", brief: "Only if it is this revision's list (a prefix does)" },
      digest: { kind: "parsed", parse: parseDigest, optional: true, placeholder: "DIGEST", brief: "The list that was seen; nothing is asked then" },
      reason: reasonFlag,
      yes: yesFlag,
      output: documentFlag,
    },
    aliases: { o: "output", y: "yes" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const groups = await heldGroups(client, fleet, flags);
    const shown = await Promise.all(groups.map(async (group) => ({ ...group, objects: await objectsOf(client, fleet, group) })));
    if (flags.output !== undefined && flags.digest === undefined && !flags.yes)
      return say(this, await structured({ items: shown.map(({ rows, ...group }) => ({ ...group, reason: rows[0]?.reason ?? "" })) }, flags.output));
    if (groups.length === 0) return sayNothingHeld(this, fleet, flags);
    const results: PruneApprovals = { approved: [], refused: [] };
    for (const group of shown) {
      show(this, group);
      await confirm(
        this,
        `Let ${counted(group.objects.length, "object")} be deleted in ${counted(group.clusters.length, "cluster")}?`,
        flags.yes || flags.digest !== undefined,
      );
      const done = await approve(client, fleet, group, flags.reason);
      results.approved.push(...done.approved);
      results.refused.push(...done.refused);
    }
    await report(this, fleet, results, flags.output);
  },
});

async function heldGroups(client: HubClient, fleet: string, flags: Flags): Promise<readonly HeldGroup[]> {
  if (flags.cluster !== undefined && flags.allClusters) throw wrongUse("--cluster and --all-clusters exclude each other");
  const held = await client.all<HeldPruneRow>(`/fleets/${encodeURIComponent(fleet)}/held-prunes`, { cluster: flags.cluster });
  const rows = held.filter(({ approvedBy }) => approvedBy === null);
  if (flags.cluster === undefined && !flags.allClusters && rows.length > 0 && !(flags.output !== undefined && flags.digest === undefined && !flags.yes))
    throw wrongUse(
      `which cluster's list? ${counted(rows.length, "cluster")} of fleet ${fleet} hold one: ${nameSome(rows)}`,
      "give --cluster, or --all-clusters",
    );
  const groups = [...Map.groupBy(rows, ({ revision, digest }) => `${revision} ${digest}`).values()].map((same) => ({
    revision: same[0]?.revision ?? "",
    digest: same[0]?.digest ?? "",
    clusters: same.map(({ cluster }) => cluster),
    rows: same,
  }));
  for (const group of groups) checkGroup(group, flags);
  return groups;
}

/** What was named must be what is held. */
function checkGroup({ revision, digest, clusters }: HeldGroup, flags: Flags): void {
  const where = clusters.length === 1 ? `cluster ${clusters[0]}` : counted(clusters.length, "cluster");
  if (flags.revision !== undefined && !revision.startsWith(flags.revision))
    throw new FleetError(`what ${where} holds is of revision ${revision.slice(0, 12)}, not of ${flags.revision}`, exitCodes.failed, {
      hint: "look at it again without --revision",
    });
  if (flags.digest !== undefined && !digest.startsWith(flags.digest))
    throw new FleetError(`${where} holds another list than ${flags.digest.slice(0, 12)}: ${digest.slice(0, 12)}`, exitCodes.failed, {
      hint: "somebody must look at the list that is held now",
    });
}

function nameSome(rows: readonly HeldPruneRow[]): string {
  const names = rows.slice(0, 5).map(({ cluster }) => cluster);
  return `${names.join(", ")}${rows.length > names.length ? ", …" : ""}`;
}

/** Equal digests are equal lists: one cluster's stands for all. */
async function objectsOf(client: HubClient, fleet: string, { clusters }: HeldGroup): Promise<readonly ObjectRow[]> {
  return client.objects({ fleet, cluster: clusters[0], prune: "held" });
}

function show(context: FleetContext, group: HeldGroup & { readonly objects: readonly ObjectRow[] }): void {
  const paint = paintFor(context.process.stderr, context.env);
  remark(context, ...heldHeading(group.rows), ...heldObjectLines(group.objects, paint));
}

function sayNothingHeld(context: FleetContext, fleet: string, flags: Flags): void {
  const where = flags.cluster === undefined ? "" : ` in cluster ${flags.cluster}`;
  // Whoever names a list expects it to be there.
  if (flags.digest !== undefined)
    throw new FleetError(`nothing of fleet ${fleet} is held${where}`, exitCodes.failed, {
      hint: `fleet approve list --fleet ${fleet} tells what came of approvals`,
    });
  remark(context, `nothing of fleet ${fleet} waits for an approval${where}`);
}

async function approve(client: HubClient, fleet: string, { clusters, revision, digest }: HeldGroup, reason: string | undefined): Promise<PruneApprovals> {
  const results: PruneApprovals = { approved: [], refused: [] };
  for (let start = 0; start < clusters.length; start += approvalsAtOnce) {
    const part = clusters.slice(start, start + approvalsAtOnce);
    const done = await client.approvePrunes(fleet, { clusters: part, revision, digest, ...(reason !== undefined && { reason }) });
    results.approved.push(...done.approved);
    results.refused.push(...done.refused);
  }
  return results;
}

async function report(context: FleetContext, fleet: string, results: PruneApprovals, output: Flags["output"]): Promise<void> {
  if (output !== undefined) say(context, await structured(results, output));
  else
    for (const { cluster, objects, digest } of results.approved)
      say(context, `${fleet}/${cluster}: ${counted(objects, "prune")} approved (${digest.slice(0, 12)})`);
  if (results.refused.length === 0) return;
  throw new FleetError(`${counted(results.refused.length, "cluster")} did not take the approval`, exitCodes.failed, {
    lines: results.refused.map(({ cluster, message }) => `${cluster}: ${message}`),
    hint: "look at their lists again",
  });
}
