import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { fleetFilter, helpText, text } from "../../input/parameters.ts";
import { secretFrom } from "../../input/secret-file.ts";
import { say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly fleet: string | undefined;
  readonly url: string;
  readonly secretFile: string;
}

export const notifySetCommand = buildCommand({
  docs: {
    brief: "Tell a receiver how rollouts end",
    fullDescription: helpText(
      "One POST when a rollout is done, and one when it has failed, with the cluster that failed first and why: a CloudEvent (1.0, JSON), signed in X-Flotilla-Signature (HMAC-SHA-256 of the body). It is sent again until it is taken, for a day.",
      "fleet notify set --url https://hooks.example.com/flotilla --secret-file secret",
      "fleet notify set --fleet shop --url https://hooks.example.com/shop --secret-file secret",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      fleet: fleetFilter,
      url: { kind: "parsed", parse: text, placeholder: "URL", brief: "Where it is sent" },
      secretFile: { kind: "parsed", parse: text, placeholder: "FILE", brief: "File with the secret that signs it; - is stdin" },
    },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const { fleet, url, secretFile } = flags;
    if (!/^https?:\/\/[^\s@]+$/.test(url)) throw wrongUse(`--url is '${url}'`, "it takes an http or https URL without credentials");
    const secret = await secretFrom(this, "--secret-file", secretFile);
    if (secret.length < 8) throw wrongUse(`--secret-file: ${secretFile} has less than 8 characters`, "openssl rand -hex 32 makes a good one");
    const client = await connect(this, flags);
    await client.setNotifyHook({ ...(fleet !== undefined && { fleet }), url, secret });
    say(this, `${url} is told how rollouts of ${fleet === undefined ? "every fleet" : `fleet ${fleet}`} end`);
  },
});
