import { buildCommand } from "@stricli/core";
import type { EventRow } from "@flotilla/proto/rest/contract";
import { checkFilters } from "../../connect/check-filters.ts";
import { followChanges } from "../../connect/follow-changes.ts";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import type { HubClient } from "../../hub-client.ts";
import { clusterFilter, fleetFilter, helpText, outputFlag, positiveInteger, text } from "../../input/parameters.ts";
import { eventLine, eventView } from "../../render/event-view.ts";
import { paintFor } from "../../render/palette.ts";
import { type ListFormat, printList, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly cluster: string | undefined;
  readonly reason: string | undefined;
  readonly follow: boolean;
  readonly limit: number;
  readonly output: ListFormat | undefined;
}

export const eventsCommand = buildCommand({
  docs: {
    brief: "Show what happened, and with --follow what happens",
    fullDescription: helpText(
      "Oldest first. --follow stays connected, over restarts of the hub too, and continues where it was. With -o json it prints one object a line.",
      "fleet events --fleet shop",
      "fleet events --follow --cluster berlin-1",
      "fleet events --follow -o json | jq -r .reason",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      fleet: fleetFilter,
      cluster: clusterFilter,
      reason: { kind: "parsed", parse: text, optional: true, placeholder: "WORD", brief: "Only with this reason, e.g. DriftHealed" },
      follow: { kind: "boolean", default: false, withNegated: false, brief: "Stay and print new ones until Ctrl-C" },
      limit: { kind: "parsed", parse: positiveInteger, default: "50", placeholder: "N", brief: "At most this many of the past" },
      output: outputFlag,
    },
    aliases: { o: "output", f: "follow", n: "limit" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    const past = await client.recentEvents({ fleet: flags.fleet, cluster: flags.cluster, reason: flags.reason }, flags.limit);
    await checkFilters(client, past, flags);
    if (!flags.follow) return printList(this, past, flags.output ?? "table", eventView(this.now()));
    for (const event of past) say(this, await format(this, event, flags.output));
    await follow(this, client, flags, past.at(-1)?.id ?? 0);
  },
});

async function follow(context: FleetContext, client: HubClient, flags: Flags, after: number): Promise<void> {
  let last = after;
  const lastEventId = after > 0 ? String(after) : undefined;
  for await (const message of followChanges(context, client, { fleet: flags.fleet, lastEventId })) {
    if (message.event !== "event") continue;
    const event = JSON.parse(message.data) as EventRow;
    // A resumed stream may begin a little early.
    if (event.id <= last) continue;
    last = event.id;
    if (isWanted(event, flags)) say(context, await format(context, event, flags.output));
  }
}

function isWanted(event: EventRow, { fleet, cluster, reason }: Flags): boolean {
  return (
    (fleet === undefined || event.fleet === fleet) && (cluster === undefined || event.cluster === cluster) && (reason === undefined || event.reason === reason)
  );
}

async function format(context: FleetContext, event: EventRow, output: ListFormat | undefined): Promise<string> {
  if (output === "json") return JSON.stringify(event);
  if (output === "yaml") return `---\n${await structured(event, "yaml")}`;
  if (output === "name") return String(event.id);
  return eventLine(event, paintFor(context.process.stdout, context.env));
}
