import { cleanText } from "@flotilla/proto/plain-words";
import { buildCommand } from "@stricli/core";
import type { BundleRow, ClusterRow, ObjectRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { clusterName, documentFlag, helpText } from "../../input/parameters.ts";
import { agoOf } from "../../render/age.ts";
import { type Paint, paintFor, toneOf } from "../../render/palette.ts";
import { say, structured } from "../../render/print.ts";
import { labelText } from "../../render/status-cells.ts";
import { tableLines } from "../../render/table.ts";
import { bundleView } from "../../render/target-view.ts";

interface Flags extends HubFlags {
  readonly output: "json" | "yaml" | undefined;
}

export const showCommand = buildCommand({
  docs: {
    brief: "Show everything about a cluster",
    fullDescription: helpText(
      "Labels, facts, bundles, and the objects that are in trouble.",
      "fleet cluster show berlin-1",
      "fleet cluster show berlin-1 -o json",
    ),
  },
  parameters: { flags: { ...hubFlags, output: documentFlag }, aliases: { o: "output" }, positional: { kind: "tuple", parameters: [clusterName] } },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    const client = await connect(this, flags);
    const cluster = await client.cluster(name);
    const [bundles, troubled] = await Promise.all([client.bundles({ cluster: name }), client.objects({ cluster: name, troubled: true })]);
    if (flags.output) return say(this, await structured({ cluster, bundles, troubled }, flags.output));
    const paint = paintFor(this.process.stdout, this.env);
    say(this, ...describe(cluster, this.now(), paint), ...bundleLines(bundles, this.now(), paint), ...troubleLines(troubled, paint));
  },
});

function describe(cluster: ClusterRow, now: number, paint: Paint): string[] {
  const lost = cluster.phase === "Unknown" ? ` (as of ${agoOf(cluster.lastSeenAt, now)})` : "";
  const rows: [string, string][] = [
    ["Name", cluster.name],
    ["Status", paint(cluster.phase, toneOf(cluster.phase)) + lost],
    ["Sync", lost === "" ? cluster.sync : "Unknown"],
    ["Health", lost === "" ? cluster.health : "Unknown"],
    ["Last seen", agoOf(cluster.lastSeenAt, now)],
    ["Fleets", cluster.fleets.join(", ") || "none"],
    ["Labels", labelText(cluster.labels) || "none"],
    ["Kubernetes", cluster.kubernetesVersion ?? "not known"],
    ["Agent", cluster.agentVersion ?? "not known"],
    ["Hub replica", cluster.hub ?? "none"],
    ["Enrolled", agoOf(cluster.enrolledAt, now)],
    ["Created", agoOf(cluster.createdAt, now)],
    ...Object.entries(cluster.facts).map(([fact, value]): [string, string] => [`Fact ${fact}`, cleanText(value)]),
  ];
  const width = Math.max(...rows.map(([title]) => title.length)) + 1;
  return rows.map(([title, value]) => `${`${title}:`.padEnd(width)}  ${value}`);
}

function bundleLines(bundles: readonly BundleRow[], now: number, paint: Paint): string[] {
  if (bundles.length === 0) return [];
  return [
    "",
    ...tableLines(
      [{ title: "FLEET", cell: ({ fleet }: BundleRow) => fleet }, ...bundleView(now).columns.filter(({ title }) => title !== "CLUSTER")],
      bundles,
      paint,
    ),
  ];
}

function troubleLines(objects: readonly ObjectRow[], paint: Paint): string[] {
  if (objects.length === 0) return [];
  const columns = [
    { title: "IN TROUBLE", cell: ({ kind, namespace, name }: ObjectRow) => [kind, namespace, name].filter(Boolean).join("/") },
    { title: "BUNDLE", cell: ({ bundle }: ObjectRow) => bundle },
    { title: "SYNC", cell: ({ sync }: ObjectRow) => ({ text: sync, tone: toneOf(sync) }) },
    { title: "HEALTH", cell: ({ health }: ObjectRow) => ({ text: health, tone: toneOf(health) }) },
    { title: "MESSAGE", cell: ({ message }: ObjectRow) => message },
  ];
  return ["", ...tableLines(columns, objects, paint)];
}
