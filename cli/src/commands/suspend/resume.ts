import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { type Scope, scopeFlags, type ScopeFlags, scopeOf, tellScope } from "../../input/act-scope.ts";
import { fleetName, helpText, reasonFlag } from "../../input/parameters.ts";
import { counted } from "../../render/counted.ts";
import { say } from "../../render/print.ts";

const kinds = ["suspension", "keeps"] as const;

interface Flags extends HubFlags, ScopeFlags {
  readonly reason: string | undefined;
  readonly only: (typeof kinds)[number] | undefined;
}

export const resumeCommand = buildCommand({
  docs: {
    brief: "Let go on what was suspended, held or rolled back",
    fullDescription: helpText(
      "Ends what keeps the fleet, or one cluster of it, from following Git: the suspension that was made with the same flags, the fleet's hold, the pin that a rollback left, and a pause of its rollout; it says what it ended. What Git says by now is then rolled out, and what drifted is corrected. --only suspension or --only keeps (hold, pin, pause) ends just that.",
      "fleet resume shop",
      "fleet resume shop --bundle db --cluster berlin-1",
      "fleet resume --cluster berlin-1",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      ...scopeFlags,
      reason: reasonFlag,
      only: { kind: "enum", values: kinds, optional: true, brief: "End just this: suspension, or keeps (hold, pin, pause)" },
    },
    positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] },
  },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const scope = scopeOf(fleet, flags);
    const client = await connect(this, flags);
    const tries: (() => Promise<string>)[] = [];
    if (flags.only !== "keeps") tries.push(() => endSuspension(client, scope, flags.reason));
    if (flags.only !== "suspension" && fleet !== undefined && flags.bundle === undefined) tries.push(() => letGo(client, fleet, flags));
    const refusals: FleetError[] = [];
    for (const attempt of tries) {
      try {
        say(this, await attempt());
      } catch (error) {
        if (!(error instanceof FleetError) || error.status !== 404) throw error;
        refusals.push(error);
      }
    }
    const [first] = refusals;
    if (first && refusals.length === tries.length) throw refusals.length > 1 ? nothingKeeps(scope, refusals) : first;
  },
});

async function endSuspension(client: HubClient, scope: Scope, reason: string | undefined): Promise<string> {
  await client.resume({ ...scope }, reason);
  return `${tellScope(scope)} resumed`;
}

async function letGo(client: HubClient, fleet: string, { cluster, reason }: Flags): Promise<string> {
  const { holds, pins, rollouts } = await client.letGo(fleet, cluster, reason);
  const parts = [...(holds > 0 ? ["its hold"] : []), ...(pins > 0 ? [counted(pins, "pin")] : []), ...(rollouts > 0 ? ["the pause of its rollout"] : [])];
  return `${cluster === undefined ? `fleet ${fleet}` : `cluster ${cluster} of fleet ${fleet}`} follows Git again: ended ${parts.join(", ")}`;
}

function nothingKeeps(scope: Scope, refusals: readonly FleetError[]): FleetError {
  const [first] = refusals;
  const hint = refusals.map((refusal) => refusal.hint).find((text) => text !== undefined);
  return new FleetError(
    `nothing keeps ${tellScope(scope)}: it is neither suspended nor held, pinned or paused`,
    first?.exitCode ?? 1,
    hint === undefined ? {} : { hint },
  );
}
