import { buildCommand } from "@stricli/core";
import type { Trace } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { documentFlag, fleetFilter, helpText, text } from "../../input/parameters.ts";
import { paintFor } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";
import { traceLines } from "../../render/trace-lines.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly output: "json" | "yaml" | undefined;
}

export const traceCommand = buildCommand({
  docs: {
    brief: "Show a revision's way to every cluster, with times",
    fullDescription: helpText(
      "From the hub's own records, without a tracing backend. REV is a commit or its first characters (at least 4), or a fleet's name for its newest revision.\nColumns: begin after the first step, length; * marks the longest step of a branch.",
      "fleet trace 1a2b3c4d",
      "fleet trace shop",
      "fleet trace 1a2b3c4d --fleet shop -o json",
    ),
  },
  parameters: {
    flags: { ...hubFlags, fleet: fleetFilter, output: documentFlag },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "REV", brief: "Commit, or a fleet's name" }] },
  },
  async func(this: FleetContext, flags: Flags, revision: string): Promise<void> {
    const client = await connect(this, flags);
    const traces = await findTraces(client, revision, flags.fleet);
    if (flags.output) return say(this, await structured(traces.length === 1 ? traces[0] : { items: traces }, flags.output));
    const paint = paintFor(this.process.stdout, this.env);
    traces.forEach((trace, index) => say(this, ...(index > 0 ? [""] : []), ...traceLines(trace, this.now(), paint)));
  },
});

/** A commit may belong to several fleets of one repository: all of their traces. */
async function findTraces(client: HubClient, revision: string, fleet: string | undefined): Promise<Trace[]> {
  if (fleet !== undefined) return [await client.trace(fleet, revision)];
  const fleets = await client.fleets();
  const named = fleets.find(({ name }) => name === revision);
  if (named) return [await newestTrace(client, named.name)];
  if (!/^[0-9a-f]{4,64}$/i.test(revision))
    throw wrongUse(`'${revision}' is neither a commit nor a fleet`, "give at least 4 characters of a commit; 'fleet history FLEET' lists them");
  const found: Trace[] = [];
  for (const { name } of fleets) {
    const trace = await client.trace(name, revision).catch(unknownHere);
    if (trace) found.push(trace);
  }
  if (found.length === 0)
    throw new FleetError(`no fleet has a revision ${revision}`, exitCodes.failed, { hint: "'fleet history FLEET' lists the revisions that the hub has seen" });
  return found;
}

async function newestTrace(client: HubClient, fleet: string): Promise<Trace> {
  const [newest] = await client.revisions(fleet, 1);
  if (!newest) throw new FleetError(`fleet ${fleet} has no revision yet`, exitCodes.failed, { hint: `'fleet status ${fleet}' says why` });
  return client.trace(fleet, newest.revision);
}

function unknownHere(error: unknown): undefined {
  if (error instanceof FleetError && error.status === 404) return undefined;
  throw error;
}
