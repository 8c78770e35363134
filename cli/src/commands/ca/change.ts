import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { confirm } from "../../input/ask.ts";
import { documentFlag, helpText, reasonFlag, text, yesFlag } from "../../input/parameters.ts";
import { counted } from "../../render/counted.ts";
import { remark, say, structured } from "../../render/print.ts";

interface StageFlags extends HubFlags {
  readonly reason: string | undefined;
  readonly output: "json" | "yaml" | undefined;
}

interface ActFlags extends StageFlags {
  readonly force: boolean;
}

interface RetireFlags extends ActFlags {
  readonly yes: boolean;
}

const force = { kind: "boolean", default: false, withNegated: false } as const;
const authority = { parse: text, placeholder: "CA", brief: "Hash of a CA, or the beginning of it, as the list shows it" } as const;
const hint = "see how far it is: fleet ca list";

export const caStageCommand = buildCommand({
  docs: {
    brief: "Make a new CA: hub and agents trust it, it signs nothing yet",
    fullDescription: helpText(
      "The first of three steps that change the hub's CA without an outage. Agents that are connected learn of it within seconds and keep it; those that are away do when they come back.",
      "fleet ca stage",
      'fleet ca stage --reason "once a year"',
    ),
  },
  parameters: { flags: { ...hubFlags, reason: reasonFlag, output: documentFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: StageFlags): Promise<void> {
    const client = await connect(this, flags);
    const staged = await client.stageAuthority(flags.reason);
    if (flags.output !== undefined) return say(this, await structured(staged, flags.output));
    say(this, `CA ${staged.hash.slice(0, 12)} staged`);
    remark(this, hint, `when the agents trust it: fleet ca activate ${staged.hash.slice(0, 12)}`);
  },
});

export const caActivateCommand = buildCommand({
  docs: {
    brief: "Have a CA sign from now on; the one before stays trusted",
    fullDescription: helpText(
      "The second step. The hub's listeners get certificates of it, and agents fetch theirs, spread over a time that grows with their number. Refused while an agent that is connected does not trust it. The CA that signed before can be activated again.",
      "fleet ca activate 3f9a0c1b7e22",
      'fleet ca activate 3f9a0c1b7e22 --force --reason "the old key leaked"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      force: { ...force, brief: "Also when agents that are connected do not trust it; takes a reason" },
      reason: reasonFlag,
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [authority] },
  },
  async func(this: FleetContext, flags: ActFlags, hash: string): Promise<void> {
    const client = await connect(this, flags);
    const active = await client.activateAuthority(hash, actOf(flags));
    if (flags.output !== undefined) return say(this, await structured(active, flags.output));
    say(this, `CA ${active.hash.slice(0, 12)} signs from now on`);
    remark(
      this,
      hint,
      "who logged in by the hub's CA logs in once more before the next step: fleet login URL",
      "when no certificate is left of the one before: fleet ca retire",
    );
  },
});

export const caRetireCommand = buildCommand({
  docs: {
    brief: "End the trust in a CA and destroy its key",
    fullDescription: helpText(
      "The third step, or the end of a CA that was staged and is not wanted. Refused, with their names, while clusters have a certificate of it or do not trust the one that signs now: they change by themselves when they are connected. With --force they are locked out, and each needs a new token.",
      "fleet ca retire 8c21d4a90b13",
      'fleet ca retire 8c21d4a90b13 --force --reason "the old key leaked"',
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      force: { ...force, brief: "Also when this locks agents out; takes a reason" },
      reason: reasonFlag,
      yes: yesFlag,
      output: documentFlag,
    },
    aliases: { o: "output", y: "yes" },
    positional: { kind: "tuple", parameters: [authority] },
  },
  async func(this: FleetContext, flags: RetireFlags, hash: string): Promise<void> {
    const client = await connect(this, flags);
    await confirm(this, `Retire CA ${hash}${flags.force ? ", and lock out whoever still hangs on it" : ""}? Its key is destroyed.`, flags.yes);
    const retired = await client.retireAuthority(hash, actOf(flags));
    if (flags.output !== undefined) return say(this, await structured(retired, flags.output));
    say(this, `CA ${retired.hash.slice(0, 12)} retired`);
    if (retired.lockedOut.length === 0) return;
    remark(
      this,
      `${counted(retired.lockedOut.length, "cluster")} locked out: ${retired.lockedOut.join(", ")}`,
      "a new token for each: fleet cluster token NAME",
    );
  },
});

function actOf({ force: isForced, reason }: ActFlags) {
  return { ...(isForced && { force: true }), ...(reason !== undefined && { reason }) };
}
