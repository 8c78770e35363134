import { buildCommand } from "@stricli/core";
import { isName, nameRule } from "@flotilla/proto/names";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { documentFlag, durationParameter, helpText, text } from "../../input/parameters.ts";
import { parseLabels } from "../../input/parse-labels.ts";
import { enrolmentRemarks, installCommand } from "../../render/enrolment-lines.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly label: readonly string[] | undefined;
  readonly ttl: number | undefined;
  readonly output: "json" | "yaml" | undefined;
}

export const addCommand = buildCommand({
  docs: {
    brief: "Register a cluster and print the command that installs its agent",
    fullDescription: helpText(
      "The token in the command is shown once, works once, and ends after --ttl. The command is on stdout, remarks are on stderr.",
      "fleet cluster add berlin-1 --label env=prod,region=eu",
      "fleet cluster add kiosk-17 --label shop=17 --ttl 24h",
      'sh -c "$(fleet cluster add kind --label env=dev)"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      label: {
        kind: "parsed",
        parse: text,
        optional: true,
        variadic: ",",
        placeholder: "KEY=VALUE",
        brief: "Labels that fleets select by; repeated or joined by commas",
      },
      ttl: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "How long the token may be used (default 1h, at most 24h)" },
      output: documentFlag,
    },
    aliases: { o: "output", l: "label" },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "NAME", brief: "Name of the new cluster" }] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    if (!isName(name)) throw wrongUse(`'${name}' cannot name a cluster`, nameRule);
    const labels = parseLabels(flags.label ?? []);
    const client = await connect(this, flags);
    const enrolment = await client.createCluster({ name, labels, ...(flags.ttl !== undefined && { tokenLifetimeMs: flags.ttl }) });
    if (flags.output) return say(this, await structured(enrolment, flags.output));
    remark(this, ...enrolmentRemarks(enrolment, this.now()));
    say(this, installCommand(enrolment, this.env));
  },
});
