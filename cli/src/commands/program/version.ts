import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { documentFlag, helpText } from "../../input/parameters.ts";
import { say, structured } from "../../render/print.ts";
import { cliVersion } from "../../version.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
  readonly server: boolean;
}

export const versionCommand = buildCommand({
  docs: {
    brief: "Print the version",
    fullDescription: helpText("Of this program; with --server of the hub too.", "fleet version", "fleet version --server -o json"),
  },
  parameters: {
    flags: { ...hubFlags, output: documentFlag, server: { kind: "boolean", default: false, withNegated: false, brief: "Ask the hub for its version too" } },
    aliases: { o: "output" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const own = { fleet: cliVersion(), node: process.versions.node };
    const hub = flags.server ? await (await connect(this, flags)).hub() : undefined;
    const versions = hub ? { ...own, hub: hub.version } : own;
    if (flags.output) return say(this, await structured(versions, flags.output));
    say(this, `fleet ${own.fleet} (Node ${own.node})`, ...(hub ? [`hub ${hub.version}`] : []));
  },
});
