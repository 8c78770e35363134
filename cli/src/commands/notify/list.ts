import { buildCommand } from "@stricli/core";
import type { NotifyHookRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetFilter, helpText, outputFlag, reasonFlag } from "../../input/parameters.ts";
import { type ListFormat, type ListView, printList, say } from "../../render/print.ts";

interface ListFlags extends HubFlags {
  readonly output: ListFormat | undefined;
}
interface RemoveFlags extends HubFlags {
  readonly fleet: string | undefined;
  readonly reason: string | undefined;
}

const view: ListView<NotifyHookRow> = {
  name: ({ fleet }) => fleet ?? "*",
  empty: "Nobody is told: fleet notify set.",
  columns: [
    { title: "FLEET", cell: ({ fleet }) => fleet ?? "all" },
    { title: "URL", cell: ({ url }) => url },
    { title: "WAITING", cell: ({ waiting }) => String(waiting) },
    { title: "PROBLEM", cell: ({ error }) => (error === "" ? "" : { text: error, tone: "bad" }) },
  ],
};

export const notifyListCommand = buildCommand({
  docs: {
    brief: "Who is told how rollouts end, and what waits for them",
    fullDescription: helpText("One line for each receiver.", "fleet notify list", "fleet notify list -o json"),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: ListFlags): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.notifyHooks(), flags.output ?? "table", view);
  },
});

export const notifyRemoveCommand = buildCommand({
  docs: {
    brief: "Tell a receiver nothing any more",
    fullDescription: helpText("What waits for it is dropped.", "fleet notify remove", "fleet notify remove --fleet shop"),
  },
  parameters: { flags: { ...hubFlags, fleet: fleetFilter, reason: reasonFlag } },
  async func(this: FleetContext, flags: RemoveFlags): Promise<void> {
    const client = await connect(this, flags);
    await client.removeNotifyHook(flags.fleet, flags.reason);
    say(this, `nobody is told of ${flags.fleet === undefined ? "every fleet" : `fleet ${flags.fleet}`} any more`);
  },
});
