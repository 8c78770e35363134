import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { scopeFlags, type ScopeFlags, scopeOf, tellScope } from "../../input/act-scope.ts";
import { fleetName, helpText, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags, ScopeFlags {
  readonly reason: string;
}

export const suspendCommand = buildCommand({
  docs: {
    brief: "Stop applying, pruning and healing: a fleet, a bundle, a cluster",
    fullDescription: helpText(
      "From now on nothing of it is applied, pruned or healed, whatever is committed; all is still watched and reported, and drift is shown. It lasts until `fleet resume` with the same fleet and flags, over restarts of hub and agents.",
      'fleet suspend shop --reason "migration of the database"',
      'fleet suspend shop --bundle db --cluster berlin-1 --reason "looking at a lock"',
      'fleet suspend --cluster berlin-1 --reason "hardware is being replaced"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      ...scopeFlags,
      reason: { kind: "parsed", parse: text, placeholder: "TEXT", brief: "Why: shown with the status, kept in the audit log" },
    },
    positional: { kind: "tuple", parameters: [{ ...fleetName, optional: true }] },
  },
  async func(this: FleetContext, flags: Flags, fleet?: string): Promise<void> {
    const scope = scopeOf(fleet, flags);
    const client = await connect(this, flags);
    const { reason, by, since } = await client.suspend({ ...scope, reason: flags.reason });
    const isOlder = reason !== flags.reason;
    say(this, isOlder ? `${tellScope(scope)} is suspended already, since ${since} by ${by}: ${reason}` : `${tellScope(scope)} suspended`);
    remark(
      this,
      `end it: fleet resume ${[fleet, flags.bundle && `--bundle ${flags.bundle}`, flags.cluster && `--cluster ${flags.cluster}`].filter(Boolean).join(" ")}`,
    );
  },
});
