import { isScalar, LineCounter, parseAllDocuments, type Document } from "yaml";
import type { Json } from "@flotilla/proto/digest";
import { defaultHealthTimeoutMs, defaultPruneBudget } from "@flotilla/proto/limits";
import { fleetApiVersion } from "@flotilla/proto/names";
import { checkOrder } from "./check-order.ts";
import { checkStructure, type CheckedStructure, type StructureSchema } from "./check-structure.ts";
import { type FleetDocument, FleetSchema } from "./fleet-schema.ts";
import type { BundlePolicy, BundleSpec, FleetSpec, LabelSelector, OverlaySpec, PatchSpec, Values } from "./fleet-spec.ts";
import { checkBundles, type FleetChecks, type FleetDraft } from "./parse-fleet-checks.ts";
import { parseDuration } from "./parse-duration.ts";
import type { Problem } from "./problem.ts";
import { defaultRemoval } from "./plan-removals.ts";
import { checkRollout } from "./check-rollout.ts";
import { fillWindows, type WindowsDocument } from "./fill-windows.ts";
import { planOf } from "./rollout-plan.ts";
import { resolveInside, type SourceTree } from "./source-tree.ts";

/** The file that makes a folder a fleet. */
export const fleetFileName = "fleet.yaml";

/** A thousand bundles with overlays are 300 KB; parsing costs a second per few megabytes. */
export const fleetFileBytesMax = 512 * 1024;

export interface ParseFleetOptions {
  /** Path of the file in the repository: it begins every problem. */
  readonly file?: string;
  /** Name under which the hub knows the fleet. The file's own may differ: one repository can serve several fleets by branch. */
  readonly fleetName?: string;
  /** Clusters when the file names none; null selects none. */
  readonly selector?: LabelSelector | null;
  /** Given, the folders that bundles and overlays name are looked up in it. */
  readonly tree?: SourceTree;
  /** The fleet's folder in the repository; "" is the root. */
  readonly root?: string;
}

export type ParsedFleet =
  | { readonly ok: true; readonly spec: FleetSpec; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] };

/**
 * Read fleet.yaml: every error at once, each with file, line, column and the nearest valid name; defaults filled in.
 * Codes: docs/problems.md. Never throws on what a person can write.
 */
export function parseFleet(text: string, options: ParseFleetOptions = {}): ParsedFleet {
  const file = options.file ?? fleetFileName;
  const read = readDocument(text, file);
  if (Array.isArray(read)) return { ok: false, problems: read, warnings: [] };
  const checked = checkStructure(read.document, read.lines, FleetSchema as unknown as StructureSchema, file);
  const draft = asDraft(checked.value);
  const checks: FleetChecks = { file, positions: checked.positions, problems: checked.problems.map(nameRemedy), warnings: [...checked.warnings] };
  checkBundles(draft, checks, options.tree, options.root ?? "");
  checkOrder(draft, checks);
  checkRollout(draft, checks);
  warnOfName(draft, checks, options.fleetName);
  const problems = checks.problems.toSorted(byPlace);
  if (problems.length > 0) return { ok: false, problems, warnings: checks.warnings };
  // Without problems nothing was left out of the draft.
  const whole = draft as FleetDocument;
  const selector = whole.spec.clusters ?? options.selector ?? null;
  if (selector === null) checks.warnings.push(noClusters(file, checked));
  return { ok: true, spec: fillDefaults(whole, selector ?? selectsNothing, options.fleetName), warnings: checks.warnings.toSorted(byPlace) };
}

/** The fleet of a folder without fleet.yaml: one bundle over it, named for the fleet. */
export function fleetWithoutFile(fleetName: string, selector: LabelSelector | null): FleetSpec {
  const bundle = fillBundle({ name: fleetName, path: "." });
  return { name: fleetName, clusters: selector ?? selectsNothing, values: {}, bundles: [bundle] };
}

/** Holds for no cluster: every one has the label of its own name. */
const selectsNothing: LabelSelector = { matchExpressions: [{ key: "flotilla.dev/cluster", operator: "DoesNotExist" }] };

/** One YAML document, or why there is none. */
function readDocument(text: string, file: string): { document: Document; lines: LineCounter } | Problem[] {
  if (Buffer.byteLength(text) > fleetFileBytesMax) {
    return [
      {
        code: "yaml-limit",
        message: `the file is larger than ${fleetFileBytesMax / 1024} KiB`,
        file,
        hint: "move values into the bundles, or split the fleet",
      },
    ];
  }
  const lines = new LineCounter();
  let documents: Document[];
  try {
    // Keys are checked for duplicates by checkStructure: the parser's own check is quadratic.
    documents = [...parseAllDocuments(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false, version: "1.2" })] as Document[];
  } catch (error) {
    return [{ code: "yaml-limit", message: error instanceof RangeError ? "nested too deeply to be read" : "cannot be read as YAML", file, line: 1, column: 1 }];
  }
  const broken = documents.flatMap((document) => [...document.errors, ...document.warnings]);
  if (broken.some((error) => error.message.includes("call stack")))
    return [{ code: "yaml-limit", message: "nested too deeply to be read", file, line: 1, column: 1 }];
  if (broken.length > 0) return broken.slice(0, 20).map((error) => yamlProblem(error, lines, file));
  const written = documents.filter((document) => !isEmpty(document));
  const [document, second] = written;
  if (document === undefined)
    return [{ code: "empty-file", message: "the file holds no document", file, line: 1, column: 1, hint: "'fleet lint --help' shows a first fleet.yaml" }];
  if (second !== undefined) {
    return [
      {
        code: "several-documents",
        message: "the file holds more than one document",
        file,
        ...placeOf(second, lines),
        hint: "a repository folder has one fleet: keep one document",
      },
    ];
  }
  return { document, lines };
}

function isEmpty(document: Document): boolean {
  return document.contents === null || (isScalar(document.contents) && document.contents.value === null);
}

function placeOf(document: Document, lines: LineCounter): { line: number; column: number } {
  const { line, col } = lines.linePos(document.contents?.range?.[0] ?? 0);
  return { line, column: col };
}

function yamlProblem(error: { message: string; pos: [number, number]; code: string }, lines: LineCounter, file: string): Problem {
  const { line, col } = lines.linePos(error.pos[0]);
  const hint = error.code === "TAB_AS_INDENT" ? "indent with spaces" : undefined;
  return { code: "invalid-yaml", message: error.message.split("\n")[0] ?? "invalid YAML", file, line, column: col, ...(hint === undefined ? {} : { hint }) };
}

/** apiVersion and kind get codes and hints of their own: they are the first thing that is copied wrong. */
function nameRemedy(problem: Problem): Problem {
  if (problem.message.startsWith("apiVersion is '")) {
    return {
      ...problem,
      code: "wrong-api-version",
      message: problem.message.replace("it takes", "this hub reads"),
      hint: `write apiVersion: ${fleetApiVersion}`,
    };
  }
  if (problem.message.startsWith("kind is '")) return { ...problem, code: "unknown-kind", hint: problem.hint ?? "write kind: Fleet" };
  return problem;
}

function asDraft(value: Json | undefined): FleetDraft {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as FleetDraft) : {};
}

function warnOfName(draft: FleetDraft, checks: FleetChecks, fleetName: string | undefined): void {
  const written = draft.metadata?.name;
  if (fleetName === undefined || written === undefined || written === fleetName) return;
  const message = `metadata.name is '${written}', and the hub knows this fleet as '${fleetName}'; the hub's name counts`;
  checks.warnings.push({ code: "fleet-name-differs", message, file: checks.file, ...checks.positions.get("metadata/name") });
}

function noClusters(file: string, checked: CheckedStructure): Problem {
  const hint = "write spec.clusters: { matchLabels: { … } }, or {} for every cluster";
  return {
    code: "no-clusters",
    message: "spec.clusters is missing and the fleet was created without a selector: no cluster gets anything",
    file,
    ...checked.positions.get("spec"),
    hint,
  };
}

function byPlace(left: Problem, right: Problem): number {
  return (left.line ?? 0) - (right.line ?? 0) || (left.column ?? 0) - (right.column ?? 0);
}

function fillRemoval(removal: FleetDocument["spec"]["removal"]): Pick<FleetSpec, "removal"> {
  if (removal === undefined) return {};
  const { policy = defaultRemoval.policy, grace } = removal;
  return { removal: { policy, graceMs: (grace === undefined ? undefined : parseDuration(grace)) ?? defaultRemoval.graceMs } };
}

type BundleDocument = FleetDocument["spec"]["bundles"][number];

function fillDefaults({ metadata, spec }: FleetDocument, clusters: LabelSelector, fleetName: string | undefined): FleetSpec {
  const rollout = spec.rollout === undefined ? {} : { rollout: planOf(spec.rollout) };
  return {
    name: fleetName ?? metadata.name,
    clusters,
    values: (spec.values ?? {}) as Values,
    bundles: spec.bundles.map((bundle) => fillBundle(bundle, spec.syncWindows)),
    ...fillRemoval(spec.removal),
    ...rollout,
  };
}

function fillBundle(draft: BundleDocument, fleetWindows?: WindowsDocument): BundleSpec {
  return {
    name: draft.name,
    path: resolveInside("", draft.path ?? draft.name) ?? "",
    ...(draft.namespace === undefined ? {} : { namespace: draft.namespace }),
    dependsOn: (draft.dependsOn ?? []).map((needed) => (typeof needed === "string" ? needed : needed.bundle)),
    values: (draft.values ?? {}) as Values,
    ...(draft.substitute === undefined ? {} : { substitute: draft.substitute }),
    overlays: (draft.overlays ?? []).map(fillOverlay),
    combine: draft.combine ?? "first",
    policy: { ...fillPolicy(draft), ...fillOrder(draft, fleetWindows) },
  };
}

function fillOverlay(overlay: NonNullable<BundleDocument["overlays"]>[number]): OverlaySpec {
  const path = overlay.path === undefined ? undefined : resolveInside("", overlay.path);
  return {
    clusters: overlay.clusters,
    ...(path === undefined ? {} : { path }),
    values: (overlay.values ?? {}) as Values,
    patches: (overlay.patches ?? []).map(fillPatch),
  };
}

/** A patch written as an object or a list becomes JSON, which is YAML. */
function fillPatch(patch: { target?: NonNullable<PatchSpec["target"]>; patch: unknown }): PatchSpec {
  const text = typeof patch.patch === "string" ? patch.patch : JSON.stringify(patch.patch);
  return { ...(patch.target === undefined ? {} : { target: patch.target }), patch: text };
}

function fillPolicy(draft: BundleDocument): BundlePolicy {
  const timeout = draft.health?.timeout;
  return {
    drift: draft.drift?.mode ?? "heal",
    ignore: draft.drift?.ignore ?? [],
    ...(draft.drift?.defaults?.off.length && { ignoreDefaultsOff: draft.drift.defaults.off.toSorted() }),
    healthTimeoutMs: (timeout === undefined ? undefined : parseDuration(timeout)) ?? defaultHealthTimeoutMs,
    ...(draft.health?.checks?.length && { healthChecks: draft.health.checks }),
    ...(draft.serviceAccount !== undefined && { serviceAccount: draft.serviceAccount }),
    ...fillObjectDefaults(draft),
    pruneBudget: fillBudget(draft.prune?.budget),
  };
}

function fillObjectDefaults({ prune, apply }: BundleDocument): Pick<BundlePolicy, "defaults"> {
  const said = { ...(prune?.mode !== undefined && { prune: prune.mode }), ...apply };
  return Object.keys(said).length === 0 ? {} : { defaults: said };
}

/** What says when a bundle is applied. What is not written is left out, so that the digests of targets without it stay. */
function fillOrder(draft: BundleDocument, fleetWindows: WindowsDocument | undefined): Pick<BundlePolicy, "readiness" | "deadlinesMs" | "syncWindows"> {
  const readiness = (draft.dependsOn ?? []).flatMap((needed) =>
    typeof needed === "object" && needed.ready !== undefined ? [{ bundle: needed.bundle, expression: needed.ready }] : [],
  );
  const windows = [fleetWindows, draft.syncWindows].flatMap((written) => (written ? [fillWindows(written)] : []));
  return {
    ...(readiness.length > 0 && { readiness }),
    ...(draft.deadline !== undefined && { deadlinesMs: fillDeadlines(draft.deadline) }),
    ...(windows.length > 0 && { syncWindows: windows }),
  };
}

const phases = ["definitions", "hook", "stage", "dependsOn", "apply"] as const;

/** One duration is every phase's. */
function fillDeadlines(deadline: NonNullable<BundleDocument["deadline"]>): NonNullable<BundlePolicy["deadlinesMs"]> {
  const written = phases.flatMap((phase) => {
    const text = typeof deadline === "string" ? deadline : deadline[phase];
    const ms = text === undefined ? undefined : parseDuration(text);
    return ms === undefined ? [] : [[phase, ms] as const];
  });
  return Object.fromEntries(written);
}

/** "10%" keeps the least number of objects beside it (G6); a whole number stands alone. */
function fillBudget(budget: number | string | undefined): BundlePolicy["pruneBudget"] {
  if (budget === undefined) return defaultPruneBudget;
  if (typeof budget === "number") return { objects: budget, percent: 0 };
  return { objects: defaultPruneBudget.objects, percent: Number.parseInt(budget, 10) };
}
