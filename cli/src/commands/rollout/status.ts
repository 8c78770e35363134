import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { documentFlag, fleetName, helpText, watchFlag } from "../../input/parameters.ts";
import { showLive } from "../../render/live-view.ts";
import { paintFor } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";
import { boardLines } from "../../render/rollout-view.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
  readonly watch: boolean;
}

export const rolloutStatusCommand = buildCommand({
  docs: {
    brief: "Show the waves of a fleet's rollout, and what it waits for",
    fullDescription: helpText(
      "The rollout that runs, else the one that ended last: its waves with their clusters, in a sentence what it waits for and until when, what failed first, what comes next, and what people said: pause, hold, pins.",
      "fleet rollout status shop",
      "fleet rollout status shop --watch",
      "fleet rollout status shop -o json | jq .rollout.phase",
    ),
  },
  parameters: {
    flags: { ...hubFlags, output: documentFlag, watch: watchFlag },
    aliases: { o: "output", w: "watch" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const draw = async (): Promise<readonly string[]> => {
      const status = await client.rollout(fleet);
      if (flags.output !== undefined) return [await structured(status, flags.output)];
      return boardLines(status, this.now(), paintFor(this.process.stdout, this.env));
    };
    if (flags.watch) return showLive(this, client, { fleet, draw, document: flags.output !== undefined });
    say(this, ...(await draw()));
  },
});
