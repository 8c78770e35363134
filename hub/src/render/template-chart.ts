import { canonicalJson } from "@flotilla/proto/digest";
import { isMap } from "../domain/merge-values.ts";
import type { Problem } from "../domain/problem.ts";
import { resolveInside, type SourceTree } from "../domain/source-tree.ts";
import type { Values } from "../domain/fleet-spec.ts";
import { chartNestingMax } from "../limits.ts";
import { inFolder } from "./detect-kind.ts";
import { placesIn, readManifests, type Manifest } from "./kube-yaml.ts";
import { readBounded } from "./read-bounded.ts";
import { problemOfEnd, type RenderTools } from "./render-tools.ts";
import { withScratchFolder } from "./scratch-folder.ts";
import { cleanComplaint } from "./tool-complaint.ts";

/** What .Capabilities.KubeVersion says in every chart: rendering must not depend on a cluster. Part of the renderer's version. */
export const chartKubeVersion = "1.36.0";

/** Helm refuses longer release names. */
const releaseNameCharsMax = 53;

/** The files that a chart is made of: path inside the chart → path in the repository. */
export interface ChartFiles {
  readonly files: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
}

/**
 * A chart's own files, and those of dependencies that it takes from elsewhere in the repository (`repository: file://../lib`),
 * laid into charts/ as `helm dependency build` would. A dependency that is in neither place is a problem: charts are not fetched.
 */
export async function chartFiles(tree: SourceTree, folder: string, nesting = 0): Promise<ChartFiles> {
  const files = new Map(tree.files(folder).map((file) => [folder === "" ? file.path : file.path.slice(folder.length + 1), file.path]));
  const chartFile = inFolder(folder, "Chart.yaml");
  const content = (await tree.read([chartFile])).get(chartFile) ?? new Uint8Array();
  const { manifests, problems } = readManifests(chartFile, content, { references: false });
  const [chart] = manifests;
  if (chart === undefined)
    return {
      files,
      problems:
        problems.length > 0
          ? problems
          : [{ code: "helm-chart-invalid", message: "Chart.yaml is empty", file: chartFile, hint: "a chart needs apiVersion: v2, a name and a version" }],
    };
  const dependencies = chart.content["dependencies"];
  const found: Problem[] = [...problems];
  for (const [index, dependency] of (Array.isArray(dependencies) ? (dependencies as readonly unknown[]) : []).entries()) {
    if (!isMap(dependency as never)) continue;
    const { name, repository } = dependency as { name?: unknown; repository?: unknown };
    if (typeof name !== "string" || hasDependency(files, name)) continue;
    const place = chart.placeOf(["dependencies", index, "name"]);
    const local = typeof repository === "string" && repository.startsWith("file://") ? resolveInside(folder, repository.slice("file://".length)) : undefined;
    if (local !== undefined && tree.kindOf(inFolder(local, "Chart.yaml")) === "file" && nesting < chartNestingMax) {
      const inner = await chartFiles(tree, local, nesting + 1);
      for (const [path, source] of inner.files) files.set(`charts/${name}/${path}`, source);
      found.push(...inner.problems);
    } else {
      const hint = local === undefined ? `run 'helm dependency build ${folder || "."}' and commit its charts/ folder` : `there is no chart at ${local}`;
      found.push({
        code: "helm-missing-dependency",
        message: `the chart depends on '${name}', which is not in its charts/ folder: nothing is fetched while rendering`,
        ...place,
        hint,
      });
    }
  }
  return { files, problems: found };
}

/** A values schema that takes parts of itself from elsewhere: Helm would read the hub's files, or fetch. */
export function outsideReferencesInSchema(path: string, text: string): Problem[] {
  let outside: string | undefined;
  try {
    JSON.parse(text, (key, value: unknown) => {
      if ((key === "$ref" || key === "$dynamicRef") && typeof value === "string" && !value.startsWith("#")) outside = value;
      return value;
    });
  } catch {
    // Helm says what is wrong with it.
    return [];
  }
  if (outside === undefined) return [];
  const place = placesIn(path, text)(Math.max(0, text.indexOf(outside)));
  return [
    {
      code: "remote-reference",
      message: "the values schema refers to something outside itself: nothing is fetched while rendering",
      ...place,
      hint: "copy it into $defs of this schema",
    },
  ];
}

/** "charts/redis/Chart.yaml" or "charts/redis-1.2.3.tgz". */
function hasDependency(files: ReadonlyMap<string, string>, name: string): boolean {
  if (files.has(`charts/${name}/Chart.yaml`)) return true;
  for (const path of files.keys()) if (path.startsWith(`charts/${name}-`) && path.endsWith(".tgz")) return true;
  return false;
}

/**
 * Template a chart with the official program. Hooks that the agent runs (install, upgrade, delete) stay in, the others (rollback, test) are left
 * out, with a warning. Problems are the author's; rejects when the program
 * cannot be run or the disk is full.
 */
export async function templateChart(options: {
  readonly tree: SourceTree;
  readonly folder: string;
  readonly files: ReadonlyMap<string, string>;
  readonly release: string;
  readonly namespace: string;
  readonly values: Values;
  readonly tools: RenderTools;
  readonly signal: AbortSignal;
}): Promise<{ manifests: Manifest[]; problems: Problem[]; warnings: Problem[] }> {
  const { tree, folder, files, release, namespace, values, tools, signal } = options;
  const chartFile = inFolder(folder, "Chart.yaml");
  if (release.length > releaseNameCharsMax) {
    return failed({
      code: "helm-release-name",
      message: `Helm takes release names of at most ${releaseNameCharsMax} characters, and the bundle is '${release}'`,
      file: chartFile,
      hint: "give the bundle a shorter name",
    });
  }
  const contents = await readBounded(tree, [...new Set(files.values())]);
  return withScratchFolder(async (scratch) => {
    const written = [...files].map(([path, source]) => [`chart/${path}`, contents.get(source) ?? new Uint8Array()] as const);
    await scratch.write(new Map<string, Uint8Array | string>([...written, ["values.json", canonicalJson(values)]]));
    // Names and namespaces are checked (RFC 1123), so none of them can be taken for an option.
    const args = [
      "template",
      release,
      "./chart",
      "--namespace",
      namespace,
      "--values",
      "values.json",
      "--include-crds",
      "--skip-tests",
      "--kube-version",
      chartKubeVersion,
      "--color",
      "never",
    ];
    const outcome = await tools.run("helm", { args, folder: scratch.path, signal });
    const ended = problemOfEnd("helm", outcome);
    if (ended !== undefined) return failed({ ...ended, file: chartFile });
    if (outcome.ended !== "well") return failed(complaintOf("complaints" in outcome ? outcome.complaints : "", { folder, values, scrub: scratch.scrub }));
    return withoutHooks(readOutput(outcome.output, folder));
  });
}

function failed(problem: Problem): { manifests: Manifest[]; problems: Problem[]; warnings: Problem[] } {
  return { manifests: [], problems: [problem], warnings: [] };
}

/** Helm's output, with every object said to be in the template that made it ("# Source: chart/templates/x.yaml"). */
function readOutput(output: string, folder: string): { manifests: Manifest[]; problems: Problem[] } {
  const sources = templateOfLines(output, folder);
  const { manifests, problems } = readManifests("output", output, { references: false });
  const templateAt = (line: number): string => sources.findLast((source) => source.line <= line)?.file ?? inFolder(folder, "Chart.yaml");
  return {
    manifests: manifests.map(({ content, place }) => {
      const at = { file: templateAt(place.line), line: 1, column: 1 };
      return { content, place: at, placeOf: () => at };
    }),
    problems: problems.map(({ code, message, hint, line }) => ({
      code,
      message: `${message} (in what the template made)`,
      file: templateAt(line ?? 1),
      ...(hint === undefined ? {} : { hint }),
    })),
  };
}

function templateOfLines(output: string, folder: string): { line: number; file: string }[] {
  const place = placesIn("output", output);
  return [...output.matchAll(/^# Source: (.+)$/gm)].map((match) => ({ line: place(match.index).line, file: templatePath(match[1] ?? "", folder) }));
}

/** "checkout/templates/api.yaml" names the chart first; in the repository that is its folder. */
function templatePath(source: string, folder: string): string {
  return inFolder(folder, source.slice(source.indexOf("/") + 1));
}

/** Hooks that the agent runs (see docs/order.md), or that are objects like others. */
const keptHooks = new Set(["pre-install", "post-install", "pre-upgrade", "post-upgrade", "pre-delete", "post-delete", "crd-install"]);

function withoutHooks(read: { manifests: Manifest[]; problems: Problem[] }): { manifests: Manifest[]; problems: Problem[]; warnings: Problem[] } {
  const warnings: Problem[] = [];
  const manifests = read.manifests.filter((manifest) => {
    const hooks = hooksOf(manifest);
    if (hooks.length === 0) return true;
    if (hooks.some((hook) => keptHooks.has(hook))) return true;
    const { kind, metadata } = manifest.content as { kind?: unknown; metadata?: { name?: unknown } };
    const what = `${String(kind)} ${String(metadata?.name)} is a Helm hook (${hooks.join(", ")})`;
    warnings.push({
      code: "helm-hook",
      message: `${what}: it is left out`,
      file: manifest.place.file,
      hint: "run it by hand when you need it",
    });
    return false;
  });
  return { manifests, problems: read.problems, warnings };
}

function hooksOf({ content }: Manifest): string[] {
  const annotations = (content as { metadata?: { annotations?: Record<string, unknown> | null } | null }).metadata?.annotations;
  const hook = annotations?.["helm.sh/hook"];
  return typeof hook === "string" ? hook.split(",").map((name) => name.trim()) : [];
}

/** Helm names the template by the chart's name, with line and column where it knows them. */
function complaintOf(text: string, options: { readonly folder: string; readonly values: Values; readonly scrub: (text: string) => string }): Problem {
  const message = cleanComplaint(text, options);
  const scrubbed = options.scrub(text);
  const found = /(?:^|[\s(])([\w.-]+\/(?:charts\/[\w.-]+\/)*templates\/[^\s:()"]+)(?::(\d+)(?::(\d+))?)?/.exec(scrubbed);
  const [, source, line, column] = found ?? [];
  const file = source === undefined ? inFolder(options.folder, "Chart.yaml") : templatePath(source, options.folder);
  const yamlLine = /YAML parse error/.test(scrubbed) ? /yaml: line (\d+)/.exec(scrubbed)?.[1] : undefined;
  const hint = hintFor(scrubbed, yamlLine);
  return {
    code: "helm-template-failed",
    message: `Helm: ${message}`,
    file,
    ...(line === undefined ? {} : { line: Number(line) }),
    ...(column === undefined ? {} : { column: Number(column) }),
    ...(hint === undefined ? {} : { hint }),
  };
}

function hintFor(text: string, yamlLine: string | undefined): string | undefined {
  if (yamlLine !== undefined) return `what the template makes is no YAML, near its line ${yamlLine}: look at indentation and quotes`;
  if (/nil pointer evaluating/.test(text)) return "a value that the template needs is missing: give it in values";
  if (/don't meet the specifications of the schema/.test(text)) return "the values do not fit the chart's values.schema.json";
  if (/requires kubeVersion/.test(text)) return `charts are rendered for Kubernetes ${chartKubeVersion}`;
  if (/function "\w+" not defined/.test(text)) return "the template calls a function that Helm does not have";
  return undefined;
}

/** Functions whose answer differs from run to run. */
const unsteady =
  /\{\{[^}]*\b(rand(?:AlphaNum|Alpha|Ascii|Numeric|Bytes|Int)|uuidv4|now|gen(?:CA|SelfSignedCert|SignedCert|PrivateKey)\w*|htpasswd|bcrypt|lookup)\b/;

/** Templates whose output is not the same every time: told, because every new render would change the cluster. */
export function unsteadyTemplates(path: string, text: string): Problem[] {
  const found = unsteady.exec(text);
  if (found === null) return [];
  const name = found[1] ?? "";
  const { line, column } = placesIn(path, text)(found.index);
  const message =
    name === "lookup" ? "lookup finds nothing: charts are rendered without a cluster" : `${name} gives another answer every time the chart is rendered`;
  return [
    {
      code: "helm-unsteady-template",
      message,
      file: path,
      line,
      column,
      hint: name === "lookup" ? "give what it should find in values" : "give a fixed value in values, or keep it in a Secret that is not in this chart",
    },
  ];
}

/** What a chart's templates ask of the cluster under .Values.global.flotilla, as names for BundleUses. */
export function clusterNamesInTemplate(text: string): string[] {
  if (!text.includes("global.flotilla") && !/global"? "flotilla"/.test(text)) return [];
  const names = new Set<string>();
  for (const match of text.matchAll(/global\.flotilla(\.cluster(?:\.(name|labels)(?:\.([\w-]+))?)?)?/g)) {
    const [, , field, label] = match;
    if (field === "name") names.add("cluster.name");
    else if (field === "labels") names.add(label === undefined ? "cluster.labels" : `cluster.labels.${label}`);
    else for (const name of ["cluster.name", "cluster.labels"]) names.add(name);
  }
  return [...names].sort();
}
