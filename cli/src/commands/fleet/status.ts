import { buildCommand } from "@stricli/core";
import type { RolloutStatus } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { fleetName, helpText, outputFlag, watchFlag } from "../../input/parameters.ts";
import { fleetStatusView } from "../../render/fleet-view.ts";
import { showLive } from "../../render/live-view.ts";
import { paintFor } from "../../render/palette.ts";
import { rolloutSummary } from "../../render/rollout-view.ts";
import { type ListFormat, remark, say, structured } from "../../render/print.ts";
import { tableLines } from "../../render/table.ts";
import { bundleView, fleetHeading, targetView } from "../../render/target-view.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly watch: boolean;
}

export const statusCommand = buildCommand({
  docs: {
    brief: "Show what runs where, how sure that is, and since when",
    fullDescription: helpText(
      "Without a name: every fleet. With one: its clusters; with -o wide, its bundles on every cluster.\nA cluster that cannot be reached is Unknown, with the age of its last word.",
      "fleet status",
      "fleet status shop --watch",
      "fleet status shop -o wide",
      "fleet status shop -o json | jq '.targets[] | select(.sync != \"Synced\") | .cluster'",
    ),
  },
  parameters: {
    flags: { ...hubFlags, output: outputFlag, watch: watchFlag },
    aliases: { o: "output", w: "watch" },
    positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] },
  },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const client = await connect(this, flags);
    const format = flags.output ?? "table";
    const draw = (): Promise<readonly string[]> => (fleet === undefined ? allFleets(this, client, format) : oneFleet(this, client, fleet, format));
    const document = format === "json" || format === "yaml";
    if (flags.watch) return showLive(this, client, { fleet, draw, document });
    const lines = await draw();
    if (lines.length > 0) say(this, ...lines);
    else if (format !== "name") remark(this, fleetStatusView(0).empty);
  },
});

async function allFleets(context: FleetContext, client: HubClient, format: ListFormat): Promise<readonly string[]> {
  const fleets = await client.fleets();
  const view = fleetStatusView(context.now());
  if (format === "json" || format === "yaml") return [await structured({ items: fleets }, format)];
  if (format === "name") return fleets.map(view.name);
  return tableLines(format === "wide" ? [...view.columns, ...(view.wide ?? [])] : view.columns, fleets, paintFor(context.process.stdout, context.env));
}

/** A hub of before rollouts has none to tell of. */
async function rolloutOf(client: HubClient, name: string): Promise<RolloutStatus | null> {
  try {
    return await client.rollout(name);
  } catch (error) {
    if (error instanceof FleetError && error.status === 404) return null;
    throw error;
  }
}

async function oneFleet(context: FleetContext, client: HubClient, name: string, format: ListFormat): Promise<readonly string[]> {
  const [fleet, targets, rollout] = await Promise.all([client.fleet(name), client.targets(name), rolloutOf(client, name)]);
  if (format === "json" || format === "yaml") return [await structured({ fleet, targets, rollout }, format)];
  const now = context.now();
  const view = targetView(now);
  if (format === "name") return targets.map(view.name);
  const paint = paintFor(context.process.stdout, context.env);
  const heading = [...fleetHeading(fleet, now, paint).slice(0, -1), ...(rollout === null ? [] : rolloutSummary(rollout, now, paint)), ""];
  if (targets.length === 0) return [...heading, view.empty];
  if (format === "table") return [...heading, ...tableLines(view.columns, targets, paint)];
  const bundles = bundleView(now);
  const rows = await client.bundles({ fleet: name });
  return [...heading, ...(rows.length === 0 ? [bundles.empty] : tableLines(bundles.columns, rows, paint))];
}
