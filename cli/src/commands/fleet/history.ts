import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { clusterFilter, fleetName, helpText, outputFlag, positiveInteger, text } from "../../input/parameters.ts";
import { parseTime } from "../../input/parse-time.ts";
import { compareRendered } from "../../render/compare-rendered.ts";
import { paintFor } from "../../render/palette.ts";
import { type ListFormat, printList, remark, say, structured } from "../../render/print.ts";
import { releaseView } from "../../render/rollout-view.ts";
import { revisionView } from "../../render/revision-view.ts";

interface Flags extends HubFlags {
  readonly output: ListFormat | undefined;
  readonly limit: number;
  readonly cluster: string | undefined;
  readonly at: string | undefined;
  readonly diff: string | undefined;
}

export const historyCommand = buildCommand({
  docs: {
    brief: "What a fleet, or a cluster, ran and when; and what changed between two revisions",
    fullDescription: helpText(
      "Of a fleet: its revisions with their outcome and how many clusters have them, newest first. With --cluster: what was released there, when it was healthy, and why it was released; with --at what ran there then, of every fleet. With --diff the objects that differ between two revisions as they were released to the cluster; values of Secrets are hashes. Then exit status 3 when there is a difference.",
      "fleet history shop",
      "fleet history --cluster berlin-1 --at 2026-11-01T12:00Z",
      "fleet history shop --cluster berlin-1 --diff 3f2a91c..8b1d004",
      "fleet trace $(fleet history shop -o name --limit 1)",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      output: outputFlag,
      limit: { kind: "parsed", parse: positiveInteger, default: "20", placeholder: "N", brief: "At most this many" },
      cluster: { ...clusterFilter, brief: "What was released to this cluster" },
      at: {
        kind: "parsed",
        parse: (input: string): string => parseTime(input, Date.now()),
        optional: true,
        placeholder: "TIME",
        brief: "What ran there then: 2026-11-01T12:00Z, or a date",
      },
      diff: {
        kind: "parsed",
        parse: text,
        optional: true,
        placeholder: "REV..REV",
        brief: "The two revisions to compare; a missing second one is what runs now",
      },
    },
    aliases: { o: "output", n: "limit" },
    positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] },
  },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const { cluster, at, limit } = flags;
    const client = await connect(this, flags);
    if (flags.diff !== undefined) {
      if (fleet === undefined || cluster === undefined) throw wrongUse("--diff compares what one cluster got of one fleet", "name the fleet, and --cluster");
      const [from = "", to = ""] = flags.diff.split("..");
      if (from === "") throw wrongUse(`--diff is '${flags.diff}'`, "it takes two revisions, as in 3f2a91c..8b1d004");
      const [before, after] = await Promise.all([client.rendered(fleet, cluster, from), client.rendered(fleet, cluster, to === "" ? undefined : to)]);
      const { lines, objects } = await compareRendered(before, after, paintFor(this.process.stdout, this.env));
      if (flags.output === "json" || flags.output === "yaml") say(this, await structured({ from: before.revision, to: after.revision, objects }, flags.output));
      else if (objects.length === 0) remark(this, "no difference");
      else say(this, ...lines);
      if (objects.length > 0) this.exitWith(exitCodes.difference);
      return;
    }
    if (cluster !== undefined || at !== undefined) {
      const releases = await client.releases({ fleet, cluster, at }, limit);
      return printList(this, releases, flags.output ?? "table", releaseView(this.now()));
    }
    if (fleet === undefined) throw wrongUse("whose history?", "name a fleet, or give --cluster");
    await printList(this, await client.revisions(fleet, limit), flags.output ?? "table", revisionView(this.now()));
  },
});
