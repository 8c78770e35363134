import { buildCommand } from "@stricli/core";
import { checkFilters } from "../../connect/check-filters.ts";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, durationParameter, fleetFilter, helpText, outputFlag, text } from "../../input/parameters.ts";
import { wrongUse } from "../../fleet-error.ts";
import { driftView } from "../../render/drift-view.ts";
import { meansObject } from "../../render/object-text.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly bundle: string | undefined;
  readonly object: string | undefined;
  readonly manager: string | undefined;
  readonly since: number | undefined;
  readonly open: boolean;
  readonly all: boolean;
}

/** Without --since or --all: what is open, and what ended within a day. */
const sinceMsDefault = 86_400_000;

export const listCommand = buildCommand({
  docs: {
    brief: "List what differed from Git, healed or not",
    fullDescription: helpText(
      "One row per object and episode: who wrote, how often, since when, how it ended. Shown is what is open, and what ended within a day; --since and --all go further back (the hub keeps 30 days).\nSTATE: Drifted (still there); Healed (by the agent); Ended (somebody changed it back); Accepted (Git came to say it); Replaced (a new revision said something else); Gone (the object or its fleet left the cluster).",
      "fleet drift list",
      "fleet drift list --open",
      "fleet drift list --fleet shop --cluster berlin-1 -o wide",
      "fleet drift list --all --object Deployment/shop/web",
      "fleet drift list --since 168h --manager kubectl-edit",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      output: outputFlag,
      fleet: fleetFilter,
      cluster: clusterFilter,
      bundle: { kind: "parsed", parse: text, optional: true, placeholder: "BUNDLE", brief: "Only of this bundle" },
      object: { kind: "parsed", parse: text, optional: true, placeholder: "OBJECT", brief: "Only of this object, e.g. Deployment/shop/web" },
      manager: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "Only where this field manager wrote" },
      since: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "DURATION", brief: "What is open, or ended within this time, e.g. 72h" },
      all: { kind: "boolean", default: false, withNegated: false, brief: "Everything that is kept" },
      open: { kind: "boolean", default: false, withNegated: false, brief: "Only what is not healed" },
    },
    aliases: { o: "output" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    if (flags.all && flags.since !== undefined) throw wrongUse("--all and --since exclude each other", "--all is everything that the hub keeps");
    const since = flags.all || flags.open ? undefined : new Date(this.now() - (flags.since ?? sinceMsDefault)).toISOString();
    const { fleet, cluster, bundle, manager, object } = flags;
    const found = await client.drift({ fleet, cluster, bundle, manager, since, ...(flags.open && { open: true }) });
    const rows = object === undefined ? found : found.filter((row) => meansObject(row.object, object));
    await checkFilters(client, rows, flags);
    await printList(this, rows, flags.output ?? "table", driftView(this.now()));
  },
});
