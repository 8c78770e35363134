import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { buildCommand } from "@stricli/core";
import type { DriftRow, ProblemRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { clusterName, fleetName, helpText, text } from "../../input/parameters.ts";
import { type Clone, type FileChange, openClone } from "../../program/clone.ts";
import { askProgram } from "../../program/run-program.ts";
import { agoOf } from "../../render/age.ts";
import { meansObject, objectText } from "../../render/object-text.ts";
import { wantsColour } from "../../render/palette.ts";
import { remark, say } from "../../render/print.ts";
import { problemLine } from "../../render/problem-lines.ts";

interface Flags extends HubFlags {
  readonly cluster: string;
  readonly path: string | undefined;
  readonly branch: string | undefined;
  readonly print: boolean;
  readonly healed: boolean;
}

interface Acceptance {
  readonly problems: readonly ProblemRow[];
  readonly warnings: readonly ProblemRow[];
  readonly changes: readonly FileChange[];
}

export const acceptCommand = buildCommand({
  docs: {
    brief: "Make Git say what was found: a commit, or a diff",
    fullDescription: helpText(
      "Writes the live values of a drift into the files of the bundle, in your clone of the fleet's repository. For plain YAML the document itself is edited, comments kept; for Kustomize the kustomization that the cluster gets is given a patch.\nMakes a new branch with one commit; what is checked out is not touched, and nothing is pushed. With --print it only shows the diff. Every cluster that gets the same folder gets the change.\nNever accepted: values of Secrets (the hub has only hashes), values too long to be known, what Helm, values or patches of fleet.yaml give.",
      "fleet drift accept shop Deployment/shop/web --cluster berlin-1 --print",
      "fleet drift accept shop Deployment/shop/web --cluster berlin-1 --path ~/src/shop",
      "fleet drift accept shop 42 --cluster berlin-1 --path . --branch keep-one-replica",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      cluster: { kind: "parsed", ...clusterName, brief: "Where the drift is" },
      path: { kind: "parsed", parse: text, optional: true, placeholder: "DIR", brief: "Your clone of the fleet's repository (with --print default: .)" },
      branch: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "The new branch (default: drift-ID-NAME)" },
      print: { kind: "boolean", default: false, withNegated: false, brief: "Show the change as a diff, and change nothing" },
      healed: { kind: "boolean", default: false, withNegated: false, brief: "Also a drift that ended: what it was last" },
    },
    positional: { kind: "tuple", parameters: [fleetName, { parse: text, placeholder: "OBJECT", brief: "The object, or the id of a drift" }] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string, what: string): Promise<void> {
    if (flags.path === undefined && !flags.print) throw wrongUse("where is your clone?", "give --path DIR for a commit, or --print for a diff");
    if (flags.print && flags.branch !== undefined) throw wrongUse("--print makes no branch", "leave --branch out, or --print");
    const client = await connect(this, flags);
    const drift = await findDrift(this, client, flags, fleet, what);
    refuseUnknowable(drift);
    const clone = await openClone(this, resolve(flags.path ?? "."));
    const branch = flags.branch ?? `drift-${drift.id}-${drift.object.split("/")[3]?.replaceAll(/[^\w.-]/g, "-")}`;
    if (!flags.print) await refuseUntidy(clone, branch);
    const { changes, warnings } = await changesFor(this, client, clone, flags, drift);
    remark(this, ...warnings.map((problem) => problemLine(problem, "warning")));
    if (flags.print) return say(this, await clone.diff(changes, wantsColour(this.process.stdout, this.env)));
    const commit = await clone.commit(changes, branch, messageOf(drift));
    say(this, `branch ${branch} has commit ${commit.slice(0, 12)}: ${changes.map(({ file }) => file).join(", ")}`);
    const [remote = "origin"] = await clone.remotes();
    say(this, `to propose it: git -C ${quoted(clone.root)} push -u ${remote} ${branch}`);
  },
});

async function findDrift(context: FleetContext, client: HubClient, flags: Flags, fleet: string, what: string): Promise<DriftRow> {
  const rows = (await client.drift({ fleet, cluster: flags.cluster })).filter((row) =>
    /^\d+$/.test(what) ? row.id === Number(what) : meansObject(row.object, what),
  );
  if (rows.length === 0) {
    await client.fleet(fleet);
    await client.cluster(flags.cluster);
    throw new FleetError(`no drift of fleet ${fleet} in cluster ${flags.cluster} is '${what}'`, exitCodes.failed, {
      hint: `'fleet drift list --fleet ${fleet} --cluster ${flags.cluster} --all' has the objects`,
    });
  }
  const objects = [...new Set(rows.map(({ object }) => object))];
  if (objects.length > 1) throw wrongUse(`'${what}' means ${objects.map(objectText).join(" and ")}`, "name kind, namespace and name, or the id of a drift");
  const row = rows.find(({ healedAt }) => healedAt === null) ?? (flags.healed || /^\d+$/.test(what) ? rows[0] : undefined);
  if (row === undefined || (row.healedAt !== null && !flags.healed)) {
    throw new FleetError(
      `the drift of ${objectText(objects[0] ?? "")} is no longer there: it ended ${agoOf((row ?? rows[0])?.healedAt ?? null, context.now())}`,
      exitCodes.failed,
      { hint: "with --healed what it was last is taken; where the agent heals, drift mode 'report' lets it stay until it is accepted" },
    );
  }
  return row;
}

function refuseUnknowable({ object, fields }: DriftRow): void {
  const what = objectText(object);
  const refuse = (message: string, hint: string): never => {
    throw new FleetError(message, exitCodes.failed, { hint });
  };
  if (/secret/i.test(object.split("/")[1] ?? ""))
    refuse(`${what} holds secrets: the hub knows only hashes of its values`, "change it where the secret is kept");
  if (fields.some(({ path }) => path === ""))
    refuse(`${what} was deleted, which is no value that a file could have`, "to accept that, take the object out of its bundle");
  const long = fields.find(({ live }) => live.endsWith("…"));
  if (long) refuse(`the value at ${long.path} of ${what} is too long: the hub knows only its beginning`, "read it from the cluster, and edit the file by hand");
  if (fields.length === 0) refuse(`no field of the drift of ${what} is known`, "'fleet drift show' says what is known");
}

async function refuseUntidy(clone: Clone, branch: string): Promise<void> {
  if (!/^(?![-/.])[\w./-]+$/.test(branch) || /\.\.|\/\/|\.lock$|[/.]$|\/\./.test(branch))
    throw wrongUse(`'${branch}' cannot be a branch`, "give another --branch");
  if (await clone.hasBranch(branch)) throw wrongUse(`the clone has a branch '${branch}' already`, "give another --branch, or delete that one");
  const files = await clone.uncommitted();
  if (files.length === 0) return;
  throw new FleetError(`the clone has changes that are not committed`, exitCodes.failed, {
    lines: files.slice(0, 5),
    hint: "commit or stash them, so that what is looked at is what is committed; or use --print",
  });
}

async function changesFor(context: FleetContext, client: HubClient, clone: Clone, flags: Flags, drift: DriftRow): Promise<Acceptance> {
  const [fleet, cluster, rendered] = await Promise.all([client.fleet(drift.fleet), client.cluster(drift.cluster), client.rendered(drift.fleet, drift.cluster)]);
  const folder = join(clone.root, fleet.path);
  if (!existsSync(folder)) throw wrongUse(`${clone.root} has no folder '${fleet.path}'`, `give --path a clone of ${fleet.repository}`);
  const released = rendered.bundles.flatMap(({ objects }) => objects).find((object) => idOf(object) === drift.object);
  if (!released)
    throw new FleetError(`${objectText(drift.object)} is no longer in what cluster ${drift.cluster} gets`, exitCodes.failed, {
      hint: "'fleet render' shows what it gets",
    });
  const labels = Object.entries(cluster.labels).map(([key, value]) => `${key}=${value}`);
  const { bundle, object, fields } = drift;
  const acceptance = await askProgram<Acceptance>(
    context,
    "hub",
    ["accept", `--cluster=${drift.cluster}`, ...(labels.length === 0 ? [] : [`--cluster-labels=${labels.join(",")}`]), "--", folder],
    JSON.stringify({ bundle, object, fields, released }),
  );
  if (acceptance.problems.length === 0) return acceptance;
  throw new FleetError(`the drift of ${objectText(object)} cannot be accepted here`, exitCodes.failed, {
    lines: acceptance.problems.flatMap((problem) => problemLine(problem, "error").split("\n")),
  });
}

function idOf(object: Record<string, unknown>): string {
  const { apiVersion, kind, metadata } = object as { apiVersion: string; kind: string; metadata: { namespace?: string; name: string } };
  return [apiVersion.includes("/") ? apiVersion.split("/")[0] : "", kind, metadata.namespace ?? "", metadata.name].join("/");
}

function messageOf({ object, cluster, fleet, id, fields }: DriftRow): string {
  const lines = fields.map(({ path, desired, live, manager }) => `${path}: ${desired || "(absent)"} -> ${live || "(absent)"}${manager && ` (${manager})`}`);
  return `Accept what ${objectText(object)} is in ${cluster}\n\n${lines.join("\n")}\n\nDrift ${id} of fleet ${fleet}.\n`;
}

/** For a shell. */
function quoted(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
