import { buildCommand } from "@stricli/core";
import type { Preview, PreviewCreate } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { completeClusters } from "../../input/complete-names.ts";
import { durationParameter, fleetName, helpText, text } from "../../input/parameters.ts";
import { readWorkingCopy } from "../../program/read-working-copy.ts";
import { paintFor } from "../../render/palette.ts";
import { differs, fullDepth, previewMarkdown, shortDepth } from "@flotilla/proto/rest/preview-text";
import { previewLines } from "../../render/preview-lines.ts";
import { remark, say, structured } from "../../render/print.ts";
import { problemLine } from "../../render/problem-lines.ts";

const formats = ["text", "json", "yaml", "markdown"] as const;

interface Flags extends HubFlags {
  readonly branch: string | undefined;
  readonly revision: string | undefined;
  readonly path: string | undefined;
  readonly cluster: readonly string[] | undefined;
  readonly timeout: number | undefined;
  readonly all: boolean;
  readonly output: (typeof formats)[number];
}

export const diffCommand = buildCommand({
  docs: {
    brief: "Show what a change would do to every cluster, before it is merged",
    fullDescription: helpText(
      "The hub renders a branch, a commit or your working copy for every cluster of the fleet, and each agent whose cluster would change tries it as server-side dry runs: nothing is written. Clusters on which it does the same are shown together: objects created (+), configured (~), deleted and made again (±), pruned (-), pruned only when something else is done or approved (?), refused or somebody else's (!), with fields; values of Secrets are hashes. Clusters that do not answer in time are unknown.\nExit status 3 when there is a difference, 0 when there is none, 4 when nothing is known.",
      "fleet diff shop --branch feature-x",
      'fleet diff shop --revision "$(git rev-parse HEAD)"',
      "fleet diff shop --path . --all",
      "fleet diff shop --branch feature-x --cluster berlin-1,paris-1 --timeout 2m",
      "fleet diff shop --branch feature-x -o markdown > comment.md",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      branch: { kind: "parsed", parse: text, optional: true, placeholder: "BRANCH", brief: "A branch of the fleet's repository" },
      revision: { kind: "parsed", parse: parseRevision, optional: true, placeholder: "SHA", brief: "A commit of the fleet's repository, its full hash" },
      path: { kind: "parsed", parse: text, optional: true, placeholder: "DIR", brief: "Your working copy: its files are sent to the hub" },
      cluster: {
        kind: "parsed",
        parse: text,
        optional: true,
        variadic: ",",
        placeholder: "CLUSTER",
        brief: "Only these clusters",
        proposeCompletions: completeClusters,
      },
      timeout: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "How long clusters may take to answer (default: 1m)" },
      all: { kind: "boolean", default: false, withNegated: false, brief: "Every object, field and cluster" },
      output: { kind: "enum", values: formats, default: "text", brief: "How it is printed" },
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const asked = await client.createPreview(fleet, await wantedOf(client, flags, fleet));
    const preview = await follow(this, client, asked);
    if (preview.phase === "Failed")
      throw new FleetError(`fleet ${fleet}: ${preview.of} cannot be previewed`, exitCodes.failed, {
        lines: preview.problems.map((problem) => problemLine(problem, "error")),
      });
    const depth = flags.all ? fullDepth : shortDepth;
    if (flags.output === "json" || flags.output === "yaml") say(this, await structured(preview, flags.output));
    else if (flags.output === "markdown") say(this, ...previewMarkdown(preview, depth));
    else say(this, ...previewLines(preview, depth, paintFor(this.process.stdout, this.env)));
    if (differs(preview)) this.exitWith(exitCodes.difference);
    else if (preview.unknown.length > 0) this.exitWith(exitCodes.timedOut);
  },
});

/** A branch may be called like a hash; a short hash may be two commits. */
function parseRevision(input: string): string {
  if (!/^[0-9a-f]{40}([0-9a-f]{24})?$/.test(input)) throw new Error("it takes a commit's full hash, as git rev-parse prints it");
  return input;
}

async function wantedOf(client: HubClient, flags: Flags, fleet: string): Promise<PreviewCreate> {
  const { branch, revision, path, cluster, timeout } = flags;
  if ([branch, revision, path].filter((given) => given !== undefined).length !== 1)
    throw wrongUse("a diff is of one thing", "give --branch, --revision or --path");
  return {
    ...(branch !== undefined && { branch }),
    ...(revision !== undefined && { revision }),
    ...(path !== undefined && { files: [...(await readWorkingCopy(path, (await client.fleet(fleet)).path))] }),
    ...(cluster !== undefined && { clusters: [...cluster] }),
    ...(timeout !== undefined && { timeoutMs: timeout }),
  };
}

async function follow(context: FleetContext, client: HubClient, asked: Preview): Promise<Preview> {
  let [preview, told] = [asked, ""];
  for (;;) {
    const { asked: waited, answered } = preview.clusters;
    const line = preview.phase === "Rendering" ? `rendering ${preview.of} …` : `asking clusters: ${answered} of ${waited} have answered`;
    if (preview.endedAt === null && line !== told) remark(context, line);
    told = line;
    if (preview.endedAt !== null || preview.phase === "Failed") return preview;
    context.signal.throwIfAborted();
    preview = await client.preview(preview.id, preview.mark);
  }
}
