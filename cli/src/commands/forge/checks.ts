import { buildCommand } from "@stricli/core";
import type { PullRequestRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { fleetName, helpText, outputFlag, positiveInteger } from "../../input/parameters.ts";
import { agoOf } from "../../render/age.ts";
import type { Tone } from "../../render/palette.ts";
import { type ListFormat, type ListView, printList, remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
}

const tones: Readonly<Record<PullRequestRow["state"], Tone>> = { pending: "busy", success: "good", failure: "bad", error: "unsure" };

const viewOf = (now: number): ListView<PullRequestRow> => ({
  name: ({ number }) => String(number),
  empty: "No pull request was heard of: does the forge send its webhook?",
  columns: [
    { title: "NUMBER", cell: ({ number }) => String(number) },
    { title: "HEAD", cell: ({ head }) => head?.slice(0, 12) ?? "" },
    { title: "STATE", cell: ({ state }) => ({ text: state, tone: tones[state] }) },
    { title: "AT", cell: ({ at }) => agoOf(at, now) },
    { title: "WHAT", cell: ({ headline, error }) => (error === "" ? headline : { text: error, tone: "bad" }) },
  ],
});

export const forgeChecksCommand = buildCommand({
  docs: {
    brief: "Pull requests that were heard of, and what they were told",
    fullDescription: helpText(
      "The newest 200, with why something could not be said to the forge.",
      "fleet forge checks shop",
      "fleet forge checks shop -o json",
    ),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" }, positional: { kind: "tuple", parameters: [fleetName] } },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.pullRequests(fleet), flags.output ?? "table", viewOf(this.now()));
  },
});

export const forgeCheckCommand = buildCommand({
  docs: {
    brief: "Preview a pull request and tell it, also where no webhook comes",
    fullDescription: helpText(
      "For a hub that the forge cannot reach: CI asks, and needs no credential of a cluster. It is made anew also when nothing has changed.",
      "fleet forge check shop 17",
    ),
  },
  parameters: {
    flags: hubFlags,
    positional: { kind: "tuple", parameters: [fleetName, { parse: positiveInteger, placeholder: "NUMBER", brief: "Number of the pull request" }] },
  },
  async func(this: FleetContext, flags: HubFlags, fleet: string, number: number): Promise<void> {
    const client = await connect(this, flags);
    await client.checkPullRequest(fleet, number);
    say(this, `pull request ${number} will be told what it would do`);
    remark(this, `how it goes: fleet forge checks ${fleet}`);
  },
});
