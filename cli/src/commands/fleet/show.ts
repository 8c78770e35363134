import { buildCommand } from "@stricli/core";
import type { FleetRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { documentFlag, fleetName, helpText } from "../../input/parameters.ts";
import { agoOf } from "../../render/age.ts";
import { refText } from "../../render/fleet-view.ts";
import { say, structured } from "../../render/print.ts";
import { problemLine } from "../../render/problem-lines.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
}

export const showCommand = buildCommand({
  docs: {
    brief: "Show everything about a fleet",
    fullDescription: helpText("Source, selector, counts, problems, and where the forge sends its webhooks.", "fleet show shop", "fleet show shop -o json"),
  },
  parameters: { flags: { ...hubFlags, output: documentFlag }, aliases: { o: "output" }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const fleet = await client.fleet(name);
    say(this, ...(flags.output ? [await structured(fleet, flags.output)] : describe(fleet, this.now(), client.endpoint.url)));
  },
});

function describe(fleet: FleetRow, now: number, hubUrl: string): string[] {
  const { source, tally } = fleet;
  const rows: [string, string][] = [
    ["Name", fleet.name],
    ["Repository", fleet.repository],
    ["Ref", refText(fleet.ref)],
    ["Path", fleet.path || "."],
    ["Selector", fleet.selector === null ? "as fleet.yaml says" : JSON.stringify(fleet.selector)],
    ["Revision", fleet.revision ?? "none yet"],
    ...(fleet.seenRevision === fleet.revision ? [] : [["Seen", `${fleet.seenRevision ?? "-"} (not released)`] as [string, string]]),
    ["Sync", `${fleet.sync} (${tally.synced} of ${tally.clusters} clusters)`],
    ["Health", `${fleet.health} (${tally.current} of ${tally.clusters} clusters)`],
    ["Unknown", String(tally.unknown)],
    ["Drifted", String(tally.drifted)],
    ["As of", agoOf(fleet.asOf, now)],
    ["Fetched", agoOf(source.fetchedAt, now)],
    ["Fetch error", source.error ?? "none"],
    ["Webhook", hubUrl + source.webhookPath],
    ["Created", agoOf(fleet.createdAt, now)],
    ...(fleet.deleting === null ? [] : [["Deleting", `objects: ${fleet.deleting}`] as [string, string]]),
  ];
  const width = Math.max(...rows.map(([title]) => title.length)) + 1;
  return [
    ...rows.map(([title, value]) => `${`${title}:`.padEnd(width)}  ${value}`),
    ...fleet.problems.map((problem) => problemLine(problem, "error")),
    ...fleet.warnings.map((problem) => problemLine(problem, "warning")),
  ];
}
