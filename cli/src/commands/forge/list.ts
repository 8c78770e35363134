import { buildCommand } from "@stricli/core";
import type { ForgeRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag } from "../../input/parameters.ts";
import { type ListFormat, type ListView, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
}

const view: ListView<ForgeRow> = {
  name: ({ repository }) => repository,
  empty: "No repository has a forge: fleet forge set.",
  columns: [
    { title: "REPOSITORY", cell: ({ repository }) => repository },
    { title: "KIND", cell: ({ kind }) => kind },
    { title: "FLEETS", cell: ({ fleets }) => fleets.join(",") },
    { title: "FORKS", cell: ({ forks }) => (forks ? "yes" : "no") },
    { title: "WAITING", cell: ({ waiting }) => String(waiting) },
    { title: "PROBLEM", cell: ({ error }) => (error === "" ? "" : { text: error, tone: "bad" }) },
  ],
};

export const forgeListCommand = buildCommand({
  docs: {
    brief: "Forges, what waits to be said there, and what they refused last",
    fullDescription: helpText("One line for each repository that has a forge.", "fleet forge list", "fleet forge list -o json"),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.forges(), flags.output ?? "table", view);
  },
});
