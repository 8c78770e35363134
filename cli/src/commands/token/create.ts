import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { durationParameter, helpText, reasonFlag, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly access: "view" | "operate" | "admin";
  readonly role: readonly string[] | undefined;
  readonly expires: number | undefined;
  readonly reason: string | undefined;
}

export const tokenCreateCommand = buildCommand({
  docs: {
    brief: "Make a token for a person or a program",
    fullDescription: helpText(
      "Prints it once. With --access view it reads and previews, operate also acts, admin also makes tokens. A wave that waits for an approval by a role takes it from a token that has the role.",
      'fleet token create "Ann" --role ops --expires 90d',
      'fleet token create "dashboard" --access view',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      access: { kind: "enum", values: ["view", "operate", "admin"], default: "operate", brief: "What it may do" },
      role: {
        kind: "parsed",
        parse: text,
        optional: true,
        variadic: ",",
        placeholder: "ROLE",
        brief: "Roles in whose name it approves rollouts; '*' is all of them",
      },
      expires: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "How long it lasts: 24h, 90d; default for ever" },
      reason: reasonFlag,
    },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "WHOSE", brief: "Whose it is; history and audit log show it" }] },
  },
  async func(this: FleetContext, flags: Flags, description: string): Promise<void> {
    const { access, role, expires, reason } = flags;
    const client = await connect(this, flags);
    const created = await client.createApiToken(
      { description, access, roles: [...(role ?? [])], ...(expires !== undefined && { lifetimeMs: expires }) },
      reason,
    );
    say(this, created.token);
    remark(this, "it is shown this once; whoever has it may use it: fleet login URL");
  },
});
