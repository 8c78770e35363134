import { readFile } from "node:fs/promises";
import { buildCommand } from "@stricli/core";
import { type LoginContext, readLogins, writeLogins } from "../../connect/login-config.ts";
import { pinAuthority } from "../../connect/pin-authority.ts";
import { withOtherAuthorities } from "../../connect/with-other-authorities.ts";
import { checkHubUrl } from "../../connect/resolve-hub.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { HubClient } from "../../hub-client.ts";
import { readSecret } from "../../input/ask.ts";
import { helpText, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags {
  readonly tokenStdin: boolean;
  readonly caHash: string | undefined;
  readonly caFile: string | undefined;
  readonly name: string | undefined;
}

export const loginCommand = buildCommand({
  docs: {
    brief: "Save the address and token of a hub, and use it from now on",
    fullDescription: helpText(
      "The token comes from stdin (or FLOTILLA_TOKEN), never from the command line. It is tried before it is saved, in a file that only you can read.\nA hub with its own authority is trusted by that authority's hash (--ca-hash, the hub prints it) or certificate (--ca-file). A later login to the same hub trusts what the one before did, and takes the hub's other CAs with it while it changes them. A hub that was started on this machine needs no login.",
      "fleet login https://hub.example.com --token-stdin < token",
      "fleet login https://hub.example.com:7420 --ca-hash 3f1c… --token-stdin < token",
      "FLOTILLA_TOKEN=… fleet login https://hub.example.com --name staging",
    ),
  },
  parameters: {
    flags: {
      tokenStdin: { kind: "boolean", default: false, withNegated: false, brief: "Read the token from stdin" },
      caHash: { kind: "parsed", parse: text, optional: true, placeholder: "HASH", brief: "SHA-256 of the public key of the hub's authority" },
      caFile: { kind: "parsed", parse: text, optional: true, placeholder: "FILE", brief: "PEM of the hub's authority" },
      name: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "Name of this login (default: the host)" },
    },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "URL", brief: "The hub's address, with https://" }] },
  },
  async func(this: FleetContext, flags: Flags, given: string): Promise<void> {
    const url = checkHubUrl(given);
    const token = await tokenFor(this, flags);
    const { contexts } = await readLogins(this.env);
    const ca = (await authorityFor(url, flags)) ?? contexts.find((context) => context.url === url)?.ca;
    const name = flags.name ?? new URL(url).host;
    const client = new HubClient({ url, token, ca, from: "login" }, { signal: this.signal });
    const hub = await client.hub();
    const login: LoginContext = { name, url, token, ...(ca !== undefined && { ca: await withOtherAuthorities(client, ca) }) };
    await writeLogins(this.env, { current: name, contexts: [...contexts.filter((context) => context.name !== name), login] });
    say(this, `logged in to ${url} as context ${name}`);
    remark(this, `hub ${hub.version}: ${hub.fleets} fleets, ${hub.clusters} clusters`);
  },
});

async function tokenFor(context: FleetContext, { tokenStdin }: Flags): Promise<string> {
  if (!tokenStdin && context.env.FLOTILLA_TOKEN) return context.env.FLOTILLA_TOKEN;
  if (!tokenStdin && context.stdin.isTTY !== true) throw wrongUse("a login wants a token", "pipe it in with --token-stdin, or set FLOTILLA_TOKEN");
  if (context.stdin.isTTY === true) remark(context, "Paste the token, then Enter:");
  return readSecret(context, "the token");
}

async function authorityFor(url: string, { caHash, caFile }: Flags): Promise<string | undefined> {
  if (caHash !== undefined && caFile !== undefined) throw wrongUse("--ca-hash and --ca-file exclude each other");
  if (caFile !== undefined) {
    return readFile(caFile, "utf8").catch((error: Error) => {
      throw wrongUse(`--ca-file: cannot read ${caFile}: ${error.message}`);
    });
  }
  if (caHash === undefined) return undefined;
  if (!url.startsWith("https:")) throw wrongUse("--ca-hash is for https");
  return pinAuthority(url, caHash);
}
