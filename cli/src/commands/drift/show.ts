import { buildCommand } from "@stricli/core";
import type { DriftRow } from "@flotilla/proto/rest/contract";
import { checkFilters } from "../../connect/check-filters.ts";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import { clusterFilter, documentFlag, fleetFilter, helpText, text } from "../../input/parameters.ts";
import { driftDiff } from "../../render/drift-view.ts";
import { meansObject } from "../../render/object-text.ts";
import { paintFor } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly all: boolean;
  readonly output: "json" | "yaml" | undefined;
}

export const showCommand = buildCommand({
  docs: {
    brief: "Show a drift field by field, as a diff",
    fullDescription: helpText(
      "WHAT is an id of 'fleet drift list', or an object: kind, namespace and name, of which kind and namespace can be left out. Of each object the last drift is shown, with --all every one that is kept, newest first.\n- is what Git says, + what was found, with the field manager that wrote it, how and when. Values of Secrets are hashes.",
      "fleet drift show 42",
      "fleet drift show web --fleet shop",
      "fleet drift show Deployment/shop/web --all",
      "fleet drift show Deployment/shop/web --cluster berlin-1",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      fleet: fleetFilter,
      cluster: clusterFilter,
      all: { kind: "boolean", default: false, withNegated: false, brief: "The history, not only the last" },
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "WHAT", brief: "Id of a drift, or an object" }] },
  },
  async func(this: FleetContext, flags: Flags, what: string): Promise<void> {
    const client = await connect(this, flags);
    const found = (await client.drift({ fleet: flags.fleet, cluster: flags.cluster })).filter((row) => matches(row, what));
    await checkFilters(client, found, flags);
    if (found.length === 0) throw new FleetError(`no drift is '${what}'`, exitCodes.failed, { hint: "'fleet drift list --all' has the ids and objects" });
    const rows = flags.all ? found : lastOfEach(found);
    if (flags.output) return say(this, await structured(rows.length === 1 ? rows[0] : { items: rows }, flags.output));
    const paint = paintFor(this.process.stdout, this.env);
    rows.forEach((row, index) => say(this, ...(index > 0 ? [""] : []), ...driftDiff(row, this.now(), paint)));
  },
});

function matches(row: DriftRow, what: string): boolean {
  return /^\d+$/.test(what) ? row.id === Number(what) : meansObject(row.object, what);
}

/** Of rows that are newest first. */
function lastOfEach(rows: readonly DriftRow[]): DriftRow[] {
  const key = ({ fleet, cluster, object }: DriftRow): string => [fleet, cluster, object].join(" ");
  return rows.filter((row, index) => rows.findIndex((other) => key(other) === key(row)) === index);
}
