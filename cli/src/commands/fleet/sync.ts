import { shortRevision } from "@flotilla/proto/plain-words";
import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterFilter, fleetName, helpText, text } from "../../input/parameters.ts";
import { remark, say } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly cluster: string | undefined;
  readonly bundle: string | undefined;
  readonly object: readonly string[] | undefined;
  readonly force: boolean;
}

export const syncCommand = buildCommand({
  docs: {
    brief: "Fetch now, and let the clusters reconcile now",
    fullDescription: helpText(
      "The hub fetches at once instead of waiting for its next poll or a webhook, and tells the agents to look again. With --bundle or --object only that is looked at: what failed is tried at once, with --force what is unchanged is applied too, and a hook that ran runs again. Order, windows and suspensions hold.",
      "fleet sync shop",
      "fleet sync shop --cluster berlin-1",
      "fleet sync shop --cluster berlin-1 --bundle api --object Deployment/shop/api",
      "fleet sync shop --object Job/shop/migrate --force       # run a hook again",
      "fleet sync shop && fleet wait shop --for healthy",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      cluster: clusterFilter,
      bundle: { kind: "parsed", parse: text, optional: true, placeholder: "BUNDLE", brief: "Only this bundle" },
      object: {
        kind: "parsed",
        parse: parseObject,
        optional: true,
        variadic: true,
        placeholder: "KIND/NAMESPACE/NAME",
        brief: "Only this object; again for more. Without a namespace Kind/name, with its group group/Kind/namespace/name",
      },
      force: { kind: "boolean", default: false, withNegated: false, brief: "Apply also what is unchanged, and run hooks again" },
    },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const { cluster, bundle, object = [], force } = flags;
    const { revision } = await client.syncFleet(name, { cluster, bundle, objects: object, force });
    const what = [
      bundle === undefined ? "" : ` of bundle ${bundle}`,
      object.length === 0 ? "" : ` of ${object.join(", ")}`,
      cluster === undefined ? "" : ` on ${cluster}`,
    ];
    say(this, `fleet ${name}: sync asked for${what.join("")}${revision === null ? "" : `; it is at ${shortRevision(revision)}`}`);
    remark(this, `wait for it: fleet wait ${name} --for healthy`);
  },
});

function parseObject(input: string): string {
  if (!/^[^/]*(\/[^/]+){1,3}$/.test(input)) throw new Error("it takes Kind/namespace/name, e.g. Deployment/shop/api");
  return input;
}
