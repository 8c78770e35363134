import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import { documentFlag, fleetName, helpText, positiveInteger } from "../../input/parameters.ts";
import { paintFor } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";
import { decisionView, rolloutClusterView } from "../../render/rollout-view.ts";
import { tableLines } from "../../render/table.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
  readonly id: number | undefined;
}

export const rolloutShowCommand = buildCommand({
  docs: {
    brief: "Show what was decided in a rollout and why, and each cluster",
    fullDescription: helpText(
      "Of the rollout that runs, else the newest; another one by its id.",
      "fleet rollout show shop",
      "fleet rollout show shop --id 42 -o json",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      output: documentFlag,
      id: { kind: "parsed", parse: positiveInteger, optional: true, placeholder: "ID", brief: "As fleet rollout list shows it" },
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const rollout = flags.id === undefined ? (await client.rollout(fleet)).rollout : (await client.rollouts({ fleet })).find(({ id }) => id === flags.id);
    if (!rollout)
      throw new FleetError(
        flags.id === undefined ? `fleet ${fleet} has had no rollout` : `fleet ${fleet} has had no rollout ${flags.id} that is kept`,
        exitCodes.failed,
        { hint: `fleet rollout list ${fleet}` },
      );
    const [decisions, clusters] = await Promise.all([client.rolloutDecisions(rollout.id), client.rolloutClusters(rollout.id)]);
    if (flags.output !== undefined) return say(this, await structured({ rollout, decisions, clusters }, flags.output));
    const paint = paintFor(this.process.stdout, this.env);
    const waves = rollout.waves.map(({ name }) => name);
    say(
      this,
      ...tableLines(decisionView(this.now()).columns, decisions, paint),
      "",
      ...tableLines(rolloutClusterView(waves, this.now()).columns, clusters, paint),
    );
  },
});
