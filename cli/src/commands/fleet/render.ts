import { buildCommand } from "@stricli/core";
import type { ProblemRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import { clusterFilter, documentFlag, helpText, text } from "../../input/parameters.ts";
import { completeFleets } from "../../input/complete-names.ts";
import { parseLabels } from "../../input/parse-labels.ts";
import { askProgram } from "../../program/run-program.ts";
import { type DirectiveFinding, directivesOf, honouredLines, notHonouredLines } from "../../render/foreign-lines.ts";
import { remark, say, structured } from "../../render/print.ts";
import { problemLine } from "../../render/problem-lines.ts";

interface Flags extends HubFlags {
  readonly cluster: string | undefined;
  readonly clusterLabels: readonly string[] | undefined;
  readonly bundle: string | undefined;
  readonly output: "json" | "yaml" | undefined;
}

interface Bundle {
  readonly name: string;
  readonly digest: string;
  readonly objects: readonly object[];
}

interface Reading {
  readonly problems: readonly ProblemRow[];
  readonly warnings?: readonly ProblemRow[];
  readonly bundles?: readonly Bundle[];
  /** Of a folder; what the hub released is read here. */
  readonly directives?: readonly DirectiveFinding[];
  readonly remarks?: readonly string[];
}

export const renderCommand = buildCommand({
  docs: {
    brief: "Print the objects that a cluster gets",
    fullDescription: helpText(
      "Of a FLEET and a --cluster, as the hub releases them (values of Secrets are hashes there). Or of a folder, as a cluster with --cluster-labels would get them, without a hub: a folder is '.', or has a '/' in it.\nYAML documents that kubectl takes, or JSON with the bundles. What annotations of Flux, Argo CD and Helm come to is told beside them, as fleet lint does.",
      "fleet render shop --cluster berlin-1",
      "fleet render . --cluster-labels env=prod,region=eu",
      "fleet render ./deploy --cluster berlin-1 --bundle web | kubectl diff -f -",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      cluster: { ...clusterFilter, brief: "The cluster that would get them" },
      clusterLabels: { kind: "parsed", parse: text, optional: true, variadic: ",", placeholder: "KEY=VALUE", brief: "Labels of the cluster, for a folder" },
      bundle: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "Only this bundle" },
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: {
      kind: "tuple",
      parameters: [{ parse: text, optional: true, placeholder: "FLEET|DIR", brief: "A fleet, or a folder (default: .)", proposeCompletions: completeFleets }],
    },
  },
  async func(this: FleetContext, flags: Flags, given?: string): Promise<void> {
    const what = given ?? ".";
    const reading = isFolder(what, flags) ? await renderFolder(this, flags, what) : await renderFleet(this, flags, what);
    remark(this, ...(reading.warnings ?? []).map((problem) => problemLine(problem, "warning")));
    if (reading.problems.length > 0) {
      throw new FleetError(`${what} does not render`, exitCodes.failed, { lines: reading.problems.map((problem) => problemLine(problem, "error")) });
    }
    const bundles = chosen(reading.bundles ?? [], flags.bundle);
    // As fleet lint tells it. What a folder's words do not come to is among its warnings.
    const { directives, remarks = [] } = reading;
    const found = directives ?? directivesOf(bundles.flatMap(({ objects }) => objects));
    remark(this, ...honouredLines(found), ...(directives ? [] : notHonouredLines(found)), ...remarks.map((line) => `note: ${line}`));
    say(this, flags.output === "json" ? JSON.stringify({ bundles }, undefined, 2) : await documents(bundles));
  },
});

function isFolder(what: string, { clusterLabels }: Flags): boolean {
  return clusterLabels !== undefined || what.startsWith(".") || what.includes("/");
}

async function renderFolder(context: FleetContext, flags: Flags, folder: string): Promise<Reading> {
  const labels = Object.entries(parseLabels(flags.clusterLabels ?? [])).map(([key, value]) => `${key}=${value}`);
  return askProgram<Reading>(context, "hub", [
    "render",
    ...["--format", "json"],
    ...(flags.cluster === undefined ? [] : [`--cluster=${flags.cluster}`]),
    ...(labels.length === 0 ? [] : [`--cluster-labels=${labels.join(",")}`]),
    ...["--", folder],
  ]);
}

async function renderFleet(context: FleetContext, flags: Flags, fleet: string): Promise<Reading> {
  if (flags.cluster === undefined) throw wrongUse(`which cluster's objects of fleet ${fleet}?`, `give --cluster; if ${fleet} is a folder, write ./${fleet}`);
  const client = await connect(context, flags);
  return client.rendered(fleet, flags.cluster);
}

function chosen(bundles: readonly Bundle[], name: string | undefined): readonly Bundle[] {
  if (name === undefined) return bundles;
  const bundle = bundles.find((one) => one.name === name);
  if (!bundle) throw wrongUse(`there is no bundle '${name}'`, `there are: ${bundles.map((one) => one.name).join(", ") || "none"}`);
  return [bundle];
}

/** Documents, each bundle under its name as a comment; structured() quotes what YAML 1.1 readers, as kubectl, would misread. */
async function documents(bundles: readonly Bundle[]): Promise<string> {
  const lines: string[] = [];
  for (const { name, objects } of bundles) {
    for (const [index, object] of objects.entries()) lines.push("---", ...(index === 0 ? [`# bundle: ${name}`] : []), await structured(object, "yaml"));
  }
  return lines.join("\n");
}
