import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import { confirm } from "../../input/ask.ts";
import { documentFlag, fleetName, helpText, parseDigest, reasonFlag, yesFlag } from "../../input/parameters.ts";
import { heldRemovalLines } from "../../render/approval-view.ts";
import { counted } from "../../render/counted.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly digest: string | undefined;
  readonly reason: string | undefined;
  readonly yes: boolean;
  readonly output: "json" | "yaml" | undefined;
}

export const approveRemovalCommand = buildCommand({
  docs: {
    brief: "Let clusters leave a fleet that no longer selects them, after showing them",
    fullDescription: helpText(
      "When labels, a selector or fleet.yaml change so that more than a tenth of a fleet's clusters (and at least two) would leave it, nobody is removed until a person has seen the list. This shows it, asks, and lets exactly these clusters go at once.\nWithout a terminal give --digest of the list that a person saw, or --yes for whatever is held now. With -o json and neither of the two, it only prints the list.",
      "fleet approve removal shop",
      "fleet approve removal shop --reason 'the region is closed'",
      "fleet approve removal shop -o json",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      digest: { kind: "parsed", parse: parseDigest, optional: true, placeholder: "DIGEST", brief: "The list that was seen; nothing is asked then" },
      reason: reasonFlag,
      yes: yesFlag,
      output: documentFlag,
    },
    aliases: { o: "output", y: "yes" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const client = await connect(this, flags);
    const { held } = await client.heldRemoval(fleet);
    if (flags.output !== undefined && flags.digest === undefined && !flags.yes) return say(this, await structured({ held }, flags.output));
    if (held === null) {
      if (flags.digest !== undefined)
        throw new FleetError(`no cluster waits to leave fleet ${fleet}`, exitCodes.failed, {
          hint: `fleet approve list --fleet ${fleet} tells what came of approvals`,
        });
      return remark(this, `no cluster waits to leave fleet ${fleet}`);
    }
    if (flags.digest !== undefined && !held.digest.startsWith(flags.digest))
      throw new FleetError(
        `other clusters would leave fleet ${fleet} than those of ${flags.digest.slice(0, 12)}: ${held.digest.slice(0, 12)}`,
        exitCodes.failed,
        {
          hint: "somebody must look at the list that is held now",
        },
      );
    remark(this, ...heldRemovalLines(fleet, held));
    const fate = held.policy === "delete" ? "and DELETE what it applied there" : "and leave its objects there";
    await confirm(this, `Let ${counted(held.clusters.length, "cluster")} leave fleet ${fleet}, ${fate}?`, flags.yes || flags.digest !== undefined);
    const approval = await client.approveRemoval(fleet, { digest: held.digest, ...(flags.reason !== undefined && { reason: flags.reason }) });
    if (flags.output !== undefined) return say(this, await structured(approval, flags.output));
    say(this, `${fleet}: ${counted(approval.clusters, "cluster")} may leave (objects: ${approval.policy})`);
  },
});
