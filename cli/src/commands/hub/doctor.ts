import { durationOf } from "@flotilla/proto/plain-words";
import { buildCommand } from "@stricli/core";
import type { HubInfo } from "@flotilla/proto/rest/contract";
import { type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { configFile, loginsAreOpen, readLogins } from "../../connect/login-config.ts";
import { type HubEndpoint, resolveHub } from "../../connect/resolve-hub.ts";
import { type ExitCode, exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import { HubClient } from "../../hub-client.ts";
import { documentFlag, helpText } from "../../input/parameters.ts";
import { type Paint, paintFor } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";
import { cliVersion } from "../../version.ts";
import { counted } from "../../render/counted.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
}

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly exitCode?: ExitCode;
}

export const doctorCommand = buildCommand({
  docs: {
    brief: "Look for what is wrong, and say how to mend it",
    fullDescription: helpText(
      "Checks this program's own setting, the way to the hub, the versions, and asks the hub about its database, broker, repositories, CA and renderers.",
      "fleet doctor",
      "fleet doctor -o json",
    ),
  },
  parameters: { flags: { ...hubFlags, output: documentFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const checks = [...(await ownChecks(this)), ...(await hubChecks(this, flags))];
    const bad = checks.filter(({ ok }) => !ok);
    if (flags.output)
      say(this, await structured({ ok: bad.length === 0, checks: checks.map(({ name, ok, message, hint }) => ({ name, ok, message, hint })) }, flags.output));
    else say(this, ...checks.flatMap((check) => checkLines(check, paintFor(this.process.stdout, this.env))));
    if (bad.length > 0) this.exitWith(bad.find(({ exitCode }) => exitCode !== undefined)?.exitCode ?? exitCodes.failed);
  },
});

async function ownChecks(context: FleetContext): Promise<Check[]> {
  const file = configFile(context.env);
  const version = { name: "fleet", ok: true, message: `${cliVersion()} on Node ${process.versions.node}` };
  try {
    const { contexts } = await readLogins(context.env);
    const open = await loginsAreOpen(context.env);
    if (open) return [version, { name: "logins", ok: false, message: `others can read the tokens in ${file}`, hint: `chmod 600 ${file}` }];
    return [version, { name: "logins", ok: true, message: contexts.length === 0 ? "none saved" : `${contexts.length} in ${file}` }];
  } catch (error) {
    return [version, failed("logins", error)];
  }
}

async function hubChecks(context: FleetContext, flags: Flags): Promise<Check[]> {
  let endpoint: HubEndpoint;
  try {
    endpoint = await resolveHub(flags, context.env);
  } catch (error) {
    return [failed("hub", error)];
  }
  try {
    const startedAt = performance.now();
    const hub = await new HubClient(endpoint, { signal: context.signal }).hub();
    const tookMs = performance.now() - startedAt;
    return [
      {
        name: "hub",
        ok: true,
        message: `${endpoint.url} (${endpoint.from}) answers in ${durationOf(tookMs)}; ${counted(hub.fleets, "fleet")}, ${counted(hub.clusters, "cluster")}`,
      },
      versionCheck(hub),
      ...hub.checks.map((check) => ({ name: `hub: ${check.name}`, ok: check.ok, message: check.message, hint: check.hint })),
    ];
  } catch (error) {
    return [failed("hub", error)];
  }
}

function versionCheck(hub: HubInfo): Check {
  const own = cliVersion();
  const minor = (version: string): string => version.split(".").slice(0, 2).join(".");
  const ok = minor(own) === minor(hub.version);
  return {
    name: "versions",
    ok,
    message: ok ? `fleet ${own}, hub ${hub.version}` : `fleet is ${own} and the hub ${hub.version}`,
    ...(ok ? {} : { hint: "install the CLI of the hub's version" }),
  };
}

function failed(name: string, error: unknown): Check {
  const { message } = error as Error;
  return error instanceof FleetError ? { name, ok: false, message, hint: error.hint, exitCode: error.exitCode } : { name, ok: false, message };
}

function checkLines({ name, ok, message, hint }: Check, paint: Paint): string[] {
  const mark = ok ? paint("ok", "good") : paint("BAD", "bad");
  return [`${ok ? " " : ""}${mark}  ${name.padEnd(18)}  ${message}`, ...(ok || hint === undefined ? [] : [`${" ".repeat(25)}${hint}`])];
}
