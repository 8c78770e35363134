import { compileFieldQuery } from "@flotilla/proto/field-query";
import { compileHealthCheck, healthVariables } from "@flotilla/proto/health-check";
import type { Position } from "./check-structure.ts";
import type { FleetDocument } from "./fleet-schema.ts";
import type { HealthCheck, IgnoreRule, LabelExpression, LabelSelector } from "./fleet-spec.ts";
import { suggestName } from "./nearest-name.ts";
import { parseDuration } from "./parse-duration.ts";
import type { Problem } from "./problem.ts";
import { selectsEverything } from "./select-clusters.ts";
import { hasUnsafeCharacter, resolveInside, type SourceTree } from "./source-tree.ts";

/** What the structure check left of fleet.yaml: whatever was wrong is missing. */
export type FleetDraft = DeepPartial<FleetDocument>;

type DeepPartial<T> = T extends readonly (infer Item)[] ? DeepPartial<Item>[] : T extends object ? { [Key in keyof T]?: DeepPartial<T[Key]> } : T;

/** Where the checks of meaning put what they find. */
export interface FleetChecks {
  readonly file: string;
  readonly positions: ReadonlyMap<string, Position>;
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

/** A timeout beyond this is a mistake in the unit. */
const durationMaxMs = 7 * 24 * 3_600_000;

/** Problems of meaning in the bundles: names, order, selectors, durations, folders. */
export function checkBundles(draft: FleetDraft, checks: FleetChecks, tree: SourceTree | undefined, root: string): void {
  checkSelector(draft.spec?.clusters, checks, "spec/clusters");
  checkDuration(draft.spec?.removal?.grace, checks, "spec/removal/grace");
  const bundles = draft.spec?.bundles ?? [];
  checkUniqueNames(bundles, checks, "spec/bundles", "bundle");
  const names = bundles.map((bundle) => bundle?.name).filter((name) => name !== undefined);
  for (const [index, bundle] of bundles.entries()) {
    const at = `spec/bundles/${index}`;
    const folder = checkFolder(bundle?.path ?? bundle?.name, bundle?.path === undefined ? `${at}/name` : `${at}/path`, checks, tree, root);
    checkDependencies(bundle?.name, (bundle?.dependsOn ?? []).map(dependencyName), names, checks, at);
    checkDuration(bundle?.health?.timeout, checks, `${at}/health/timeout`);
    checkHealthChecks(bundle?.health?.checks ?? [], checks, `${at}/health/checks`);
    checkIgnoreRules(bundle?.drift?.ignore ?? [], checks, `${at}/drift/ignore`);
    checkOverlays(bundle ?? {}, checks, at, folder === undefined ? undefined : tree, root);
  }
  checkCycles(bundles, checks);
}

type BundleDraft = NonNullable<NonNullable<FleetDraft["spec"]>["bundles"]>[number];

function checkOverlays(bundle: BundleDraft, checks: FleetChecks, at: string, tree: SourceTree | undefined, root: string): void {
  let caughtAll: number | undefined;
  for (const [index, overlay] of (bundle.overlays ?? []).entries()) {
    const place = `${at}/overlays/${index}`;
    checkSelector(overlay?.clusters, checks, `${place}/clusters`);
    if (overlay?.path !== undefined) checkFolder(overlay.path, `${place}/path`, checks, tree, root);
    if (caughtAll !== undefined)
      warn(
        checks,
        place,
        "unreachable-overlay",
        `overlay ${index + 1} never applies: overlay ${caughtAll + 1} matches every cluster and the first match wins`,
        "move it up, or write combine: all",
      );
    else if (bundle.combine !== "all" && overlay?.clusters !== undefined && selectsEverything(overlay.clusters as LabelSelector)) caughtAll = index;
  }
}

/** The folder from the repository's root; undefined (and told) when it is outside or not there. */
function checkFolder(path: string | undefined, at: string, checks: FleetChecks, tree: SourceTree | undefined, root: string): string | undefined {
  if (path === undefined) return undefined;
  const inside = resolveInside("", path);
  if (inside === undefined || `/${path}/`.includes("/../")) {
    const why = hasUnsafeCharacter(path) ? "holds a backslash or a control character" : "leads out of the fleet's folder";
    tell(checks, at, "bad-path", `path '${path.slice(0, 100)}' ${why}`, "name a folder below the fleet's own, with '/' between the parts");
    return undefined;
  }
  const folder = resolveInside(root, inside) ?? "";
  if (tree === undefined) return folder;
  const refused = tree.refused(folder);
  if (refused !== undefined) {
    checks.problems.push(refused);
    return undefined;
  }
  const kind = tree.kindOf(folder);
  if (kind === "folder") return folder;
  if (kind === "file") tell(checks, at, "missing-path", `path '${path}' is a file; a bundle is a folder`, "name the folder that holds it");
  else tell(checks, at, "missing-path", `path '${path}' is not in the repository`, suggestName(inside, foldersOf(tree, root), "folders"));
  return undefined;
}

/** Folders that a mistyped path may have meant, relative to the fleet's folder. */
function foldersOf(tree: SourceTree, root: string): string[] {
  const prefix = root === "" ? "" : `${root}/`;
  const folders = new Set<string>();
  let files;
  try {
    files = tree.files(root);
  } catch {
    // Something in the fleet's folder is refused; without it there is no hint.
    return [];
  }
  for (const { path } of files) {
    const parts = path.slice(prefix.length).split("/");
    for (let depth = 1; depth < parts.length; depth += 1) folders.add(parts.slice(0, depth).join("/"));
  }
  return [...folders];
}

/** The bundle that an entry of dependsOn names; null when it is not readable. */
function dependencyName(needed: NonNullable<BundleDraft["dependsOn"]>[number] | null): string | null {
  return typeof needed === "string" ? needed : (needed?.bundle ?? null);
}

function checkDependencies(name: string | undefined, dependsOn: readonly (string | null)[], names: readonly string[], checks: FleetChecks, at: string): void {
  const seen = new Set<string>();
  for (const [index, needed] of dependsOn.entries()) {
    if (needed === null) continue;
    const place = `${at}/dependsOn/${index}`;
    if (needed === name) tell(checks, place, "dependency-cycle", `bundle '${name}' depends on itself`);
    else if (!names.includes(needed))
      tell(
        checks,
        place,
        "unknown-dependency",
        `bundle '${needed}' is not in this fleet`,
        suggestName(
          needed,
          names.filter((other) => other !== name),
          "bundles",
        ),
      );
    else if (seen.has(needed)) tell(checks, place, "duplicate-name", `'${needed}' is here twice`);
    seen.add(needed);
  }
}

/** Every cycle is told once, at the dependency that closes it. */
function checkCycles(bundles: readonly BundleDraft[], checks: FleetChecks): void {
  const byName = new Map<string, { index: number; dependsOn: readonly string[] }>();
  for (const [index, bundle] of bundles.entries()) {
    if (bundle?.name !== undefined && !byName.has(bundle.name))
      byName.set(bundle.name, { index, dependsOn: (bundle.dependsOn ?? []).flatMap((needed) => dependencyName(needed) ?? []) });
  }
  const done = new Set<string>();
  for (const start of byName.keys()) walkDependencies(start, byName, done, checks);
}

/** Depth first with a stack of our own: a chain may be a thousand bundles long. */
function walkDependencies(
  start: string,
  byName: ReadonlyMap<string, { index: number; dependsOn: readonly string[] }>,
  done: Set<string>,
  checks: FleetChecks,
): void {
  if (done.has(start)) return;
  const path = [{ name: start, next: 0 }];
  const onPath = new Set([start]);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const bundle = byName.get(top.name);
    const needed = bundle?.dependsOn[top.next];
    if (bundle === undefined || needed === undefined) {
      done.add(top.name);
      onPath.delete(top.name);
      path.pop();
      continue;
    }
    top.next += 1;
    if (needed === top.name || done.has(needed) || !byName.has(needed)) continue;
    if (onPath.has(needed)) {
      const cycle = [...path.slice(path.findIndex((step) => step.name === needed)).map((step) => step.name), needed];
      tell(
        checks,
        `spec/bundles/${bundle.index}/dependsOn/${top.next - 1}`,
        "dependency-cycle",
        `bundles depend on each other: ${cycle.join(" -> ")}`,
        "remove one of these dependencies",
      );
      continue;
    }
    path.push({ name: needed, next: 0 });
    onPath.add(needed);
  }
}

export function checkUniqueNames(entries: readonly ({ name?: string } | undefined)[], checks: FleetChecks, at: string, what: string): void {
  const first = new Map<string, number>();
  for (const [index, entry] of entries.entries()) {
    const name = entry?.name;
    if (name === undefined) continue;
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, index);
    else {
      const line = checks.positions.get(`${at}/${earlier}/name`)?.line;
      tell(
        checks,
        `${at}/${index}/name`,
        "duplicate-name",
        `${what} '${name}' is here twice${line === undefined ? "" : `, first at line ${line}`}`,
        "give one of them another name",
      );
    }
  }
}

const expressionNames = ["inProgress", "failed", "current"] as const;

/** CEL is compiled as the agent will compile it: what it cannot evaluate is told here, at its line. */
function checkHealthChecks(written: readonly (DeepPartial<HealthCheck> | null | undefined)[], checks: FleetChecks, at: string): void {
  const seen = new Set<string>();
  for (const [index, check] of written.entries()) {
    if (!check) continue;
    const place = `${at}/${index}`;
    const key = `${check.group ?? "*"}/${check.kind}`;
    if (seen.has(key)) tell(checks, place, "duplicate-name", `${check.kind} has a health check already; the first one counts`, "write one entry for each kind");
    seen.add(key);
    if (expressionNames.every((name) => check[name] === undefined))
      tell(checks, place, "bad-value", "a health check without an expression checks nothing", `write ${expressionNames.join(", ")}, or some of them`);
    for (const name of expressionNames) checkExpressionText(check[name], checks, `${place}/${name}`, name);
  }
}

function checkExpressionText(text: string | undefined, checks: FleetChecks, at: string, name: string): void {
  const compiled = text === undefined ? undefined : compileHealthCheck(text);
  if (compiled === undefined || compiled.ok) return;
  const { message, offset } = compiled.problem;
  tell(
    checks,
    at,
    "bad-expression",
    `${name}: ${message}, at column ${offset + 1} of the expression`,
    `it is CEL over ${Object.keys(healthVariables).join(", ")}; see docs/fleet-yaml.md`,
  );
}

/** Field queries are compiled as the agent will compile them. */
function checkIgnoreRules(written: readonly (DeepPartial<IgnoreRule> | null | undefined)[], checks: FleetChecks, at: string): void {
  for (const [index, rule] of written.entries()) {
    if (!rule) continue;
    const place = `${at}/${index}`;
    const isNamed = (["paths", "queries", "managers"] as const).some((name) => rule[name] !== undefined || checks.positions.has(`${place}/${name}`));
    if (!isNamed) tell(checks, place, "bad-value", "an ignore rule without paths, queries or managers ignores nothing", "write at least one of the three");
    for (const [number, text] of (rule.queries ?? []).entries()) {
      const compiled = typeof text === "string" ? compileFieldQuery(text) : undefined;
      if (compiled === undefined || compiled.ok) continue;
      const { message, offset } = compiled.problem;
      const where = `at column ${offset + 1} of the query`;
      tell(
        checks,
        `${place}/queries/${number}`,
        "bad-expression",
        `${message}, ${where}`,
        'a query is a path such as .spec.containers[] | select(.name == "proxy")',
      );
    }
  }
}

export function checkDuration(text: string | undefined, checks: FleetChecks, at: string, maxMs: number = durationMaxMs): void {
  const ms = text === undefined ? undefined : parseDuration(text);
  if (ms === undefined) return;
  if (ms === 0) tell(checks, at, "bad-value", `duration '${text}' is nothing`, "write at least 1s");
  else if (ms > maxMs) {
    const most = maxMs === durationMaxMs ? "a week" : `${maxMs / 86_400_000} days`;
    tell(checks, at, "bad-value", `duration '${text}' is longer than ${most}`, `write at most ${maxMs / 3_600_000}h`);
  }
}

/** Kubernetes' label syntax: prefix/name, name and value at most 63 characters. */
export function checkSelector(selector: DeepPartial<LabelSelector> | undefined, checks: FleetChecks, at: string): void {
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    checkLabelKey(key, checks, `${at}/matchLabels/${key}`);
    checkLabelValue(value, checks, `${at}/matchLabels/${key}`);
  }
  for (const [index, expression] of (selector?.matchExpressions ?? []).entries()) checkExpression(expression ?? {}, checks, `${at}/matchExpressions/${index}`);
}

function checkExpression(expression: DeepPartial<LabelExpression>, checks: FleetChecks, at: string): void {
  const { key, operator, values } = expression;
  if (key !== undefined) checkLabelKey(key, checks, `${at}/key`);
  for (const [index, value] of (values ?? []).entries()) checkLabelValue(value, checks, `${at}/values/${index}`);
  if ((operator === "In" || operator === "NotIn") && (values ?? []).length === 0)
    tell(checks, at, "bad-selector", `operator ${operator} needs values`, "write values: [...]");
  if ((operator === "Exists" || operator === "DoesNotExist") && (values ?? []).length > 0)
    tell(checks, `${at}/values`, "bad-selector", `operator ${operator} takes no values`, "remove values");
}

/** Whether a text can be the key of a Kubernetes label: [prefix/]name, the prefix a DNS name. */
export function isLabelKey(key: string): boolean {
  const parts = key.split("/");
  const [prefix, name] = parts.length === 1 ? [undefined, parts[0]] : parts;
  if (parts.length > 2 || name === undefined || name === "" || !isLabelValue(name)) return false;
  return prefix === undefined || (prefix.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(prefix));
}

/** Whether a text can be the value of a Kubernetes label. */
export function isLabelValue(value: string): boolean {
  return value.length <= 63 && /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/.test(value);
}

function checkLabelKey(key: string, checks: FleetChecks, at: string): void {
  if (!isLabelKey(key))
    tell(
      checks,
      at,
      "bad-selector",
      `'${key.slice(0, 80)}' cannot be a label's key`,
      "a key is [prefix/]name: letters, digits, '-', '_', '.', at most 63 characters",
    );
}

function checkLabelValue(value: string | null | undefined, checks: FleetChecks, at: string): void {
  if (typeof value === "string" && !isLabelValue(value))
    tell(checks, at, "bad-selector", `'${value.slice(0, 80)}' cannot be a label's value`, "a value has letters, digits, '-', '_', '.', at most 63 characters");
}

export function tell(checks: FleetChecks, at: string, code: string, message: string, hint?: string): void {
  checks.problems.push({ code, message, file: checks.file, ...placeOf(checks, at), ...(hint === undefined ? {} : { hint }) });
}

function warn(checks: FleetChecks, at: string, code: string, message: string, hint?: string): void {
  checks.warnings.push({ code, message, file: checks.file, ...placeOf(checks, at), ...(hint === undefined ? {} : { hint }) });
}

/** Where a part stands, or the nearest part around it that is written. */
function placeOf(checks: FleetChecks, at: string): Partial<Position> {
  for (let path = at; path !== ""; path = path.slice(0, Math.max(0, path.lastIndexOf("/")))) {
    const position = checks.positions.get(path);
    if (position !== undefined) return position;
  }
  return {};
}
