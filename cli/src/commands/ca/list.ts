import { buildCommand } from "@stricli/core";
import type { AuthorityRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag } from "../../input/parameters.ts";
import { ageOf } from "../../render/age.ts";
import { type ListFormat, type ListView, printList } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
}

const viewOf = (now: number): ListView<AuthorityRow> => ({
  name: ({ hash }) => hash,
  empty: "There is no CA.",
  columns: [
    { title: "CA", cell: ({ hash }) => hash.slice(0, 12) },
    { title: "STATE", cell: ({ state }) => (state === "retired" ? { text: state, tone: "faint" } : state) },
    { title: "AGE", cell: ({ createdAt }) => ageOf(createdAt, now) },
    { title: "TRUSTED BY", cell: ({ state, trusting, clusters }) => (state === "retired" ? "" : `${trusting}/${clusters}`) },
    { title: "CERTIFICATES", cell: ({ holders, state }) => (state === "retired" ? "" : String(holders)) },
  ],
  wide: [{ title: "HASH", cell: ({ hash }) => hash }],
});

export const caListCommand = buildCommand({
  docs: {
    brief: "The hub's CAs: which one signs, how many agents trust each, how many still have a certificate of it",
    fullDescription: helpText(
      "The CA signs the certificates of agents and of the hub's own listeners. It is changed by three commands: stage, activate, retire.\n-o json has the certificates.",
      "fleet ca list",
      "fleet ca list -o json",
    ),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.authorities(), flags.output ?? "table", viewOf(this.now()));
  },
});
