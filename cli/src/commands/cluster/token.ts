import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterName, documentFlag, durationParameter, helpText } from "../../input/parameters.ts";
import { enrolmentRemarks, installCommand } from "../../render/enrolment-lines.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly ttl: number | undefined;
  readonly output: "json" | "yaml" | undefined;
}

export const tokenCommand = buildCommand({
  docs: {
    brief: "Make a new enrolment token for a cluster",
    fullDescription: helpText(
      "For an agent that has to join again: its token ran out unused, or its identity was lost. Prints the install command.",
      "fleet cluster token berlin-1",
      "fleet cluster token berlin-1 -o json | jq -r .token",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      ttl: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "How long the token may be used (default 1h, at most 24h)" },
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [clusterName] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const enrolment = await client.createToken(name, flags.ttl);
    if (flags.output) return say(this, await structured(enrolment, flags.output));
    remark(this, ...enrolmentRemarks(enrolment, this.now()));
    say(this, installCommand(enrolment, this.env));
  },
});
