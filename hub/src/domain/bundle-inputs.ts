import { canonicalJson, sha256, type Json } from "@flotilla/proto/digest";
import type { BundleSpec, FleetSpec, OverlaySpec, PatchSpec, Values } from "./fleet-spec.ts";
import { mergeValues, valueAt, valueNames } from "./merge-values.ts";
import { matchesSelector } from "./select-clusters.ts";
import { isClusterName, namesIn, substitute, type NamedValues } from "./substitute.ts";
import type { PlacedCluster } from "./target.ts";

export type BundleKind = "plain" | "kustomize" | "helm";

/** What a folder of manifests makes use of, found by reading it: decides how many different renders a fleet needs. */
export interface BundleUses {
  readonly kind: BundleKind;
  /** Names in `${…}`, sorted. For a chart, the cluster's names under .Values.global.flotilla. */
  readonly names: readonly string[];
}

/** Everything besides the files that decides what a bundle becomes. Clusters with equal inputs share one render. */
export interface BundleInputs {
  readonly bundle: string;
  readonly kind: BundleKind;
  /** Folder or file, from the repository's root. */
  readonly path: string;
  readonly namespace?: string;
  /** Values that the manifests name, by dotted name; empty for charts. */
  readonly names: NamedValues;
  /** The whole of the values, for charts only. */
  readonly values?: Values;
  readonly patches: readonly PatchSpec[];
  /** "off": `${…}` is text. "cluster": only the cluster's names are replaced, because nobody gave values. "all": unknown names are problems. */
  readonly substitution: "off" | "cluster" | "all";
  /** What values ask of the cluster (`${cluster.labels.zone}`) and it has not. */
  readonly missing: readonly string[];
}

/** The overlays that count for a cluster, in order. */
export function overlaysFor(bundle: BundleSpec, cluster: PlacedCluster): readonly OverlaySpec[] {
  const matching = bundle.overlays.filter((overlay) => matchesSelector(overlay.clusters, cluster.labels));
  return bundle.combine === "all" ? matching : matching.slice(0, 1);
}

/** The folder that a cluster gets, relative to the fleet's folder: the last overlay that names one, or else the bundle's own. */
export function pathFor(bundle: BundleSpec, cluster: PlacedCluster): string {
  return overlaysFor(bundle, cluster).reduce((path, overlay) => overlay.path ?? path, bundle.path);
}

/** Every folder that some cluster may get. */
export function pathsOf(bundle: BundleSpec): string[] {
  return [...new Set([bundle.path, ...bundle.overlays.flatMap((overlay) => overlay.path ?? [])])];
}

/**
 * The inputs of one bundle for one cluster: values of fleet, bundle and overlays laid over each other, and of them, and of the
 * cluster, only what is made use of.
 *
 * @param path what pathFor gave, from the repository's root; `uses` is what was found there.
 * @param overlays those that count; by default the ones that match the cluster.
 */
export function bundleInputs(
  spec: FleetSpec,
  bundle: BundleSpec,
  cluster: PlacedCluster,
  path: string,
  uses: BundleUses,
  overlays = overlaysFor(bundle, cluster),
): BundleInputs {
  const values = mergeValues(spec.values, bundle.values, ...overlays.map((overlay) => overlay.values));
  const patches = overlays.flatMap((overlay) => overlay.patches);
  const shared = { bundle: bundle.name, kind: uses.kind, path, patches, ...(bundle.namespace === undefined ? {} : { namespace: bundle.namespace }) };
  if (uses.kind === "helm") {
    const resolved = resolveClusterNames(values, cluster);
    return { ...shared, names: {}, values: chartValues(resolved.values, cluster, uses.names), substitution: "off", missing: resolved.missing };
  }
  const names = [...new Set([...uses.names, ...patches.flatMap((patch) => namesIn(patch.patch))])].sort();
  const resolved = resolveClusterNames(namedValues(names, values, cluster), cluster);
  return { ...shared, names: resolved.values, substitution: substitutionOf(bundle, values), missing: resolved.missing };
}

/** Equal inputs, equal keys. */
export function inputsKey(inputs: BundleInputs): string {
  return sha256(canonicalJson(inputs));
}

/** Every name that a manifest of this bundle may use for this cluster, for hints. */
export function declaredNames(spec: FleetSpec, bundle: BundleSpec, cluster: PlacedCluster, overlays = overlaysFor(bundle, cluster)): string[] {
  const values = mergeValues(spec.values, bundle.values, ...overlays.map((overlay) => overlay.values));
  return [...valueNames(values), "cluster.name", ...Object.keys(cluster.labels).map((label) => `cluster.labels.${label}`)];
}

function substitutionOf(bundle: BundleSpec, values: Values): BundleInputs["substitution"] {
  if (bundle.substitute === false) return "off";
  return Object.keys(values).length === 0 ? "cluster" : "all";
}

function namedValues(names: readonly string[], values: Values, cluster: PlacedCluster): NamedValues {
  const found: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const name of names) {
    const value = isClusterName(name) ? clusterValue(name, cluster) : valueAt(values, name);
    if (value !== undefined) found[name] = value;
  }
  return { ...found };
}

/** "cluster.name", or "cluster.labels.<label>" with the label as it is written on the cluster. */
function clusterValue(name: string, cluster: PlacedCluster): string | undefined {
  if (name === "cluster.name") return cluster.name;
  const label = name.startsWith("cluster.labels.") ? name.slice("cluster.labels.".length) : "";
  return Object.hasOwn(cluster.labels, label) ? cluster.labels[label] : undefined;
}

/** Values may speak of the cluster themselves: `host: shop.${cluster.name}.example.com`. Other references in them are text. */
function resolveClusterNames(values: Values, cluster: PlacedCluster): { values: Values; missing: readonly string[] } {
  const text = canonicalJson(values);
  if (!text.includes("${cluster.")) return { values, missing: [] };
  const known = namedValues(namesIn(text).filter(isClusterName), {}, cluster);
  const { object, bad } = substitute(values as Json, known, { strict: false, escapes: false });
  return { values: object as unknown as Values, missing: [...new Set(bad.map((reference) => reference.name))].sort() };
}

/** Values for a chart; `global.flotilla.cluster` holds what the chart's templates ask of the cluster, and nothing else. */
function chartValues(values: Values, cluster: PlacedCluster, names: readonly string[]): Values {
  if (names.length === 0) return values;
  const labels = names.includes("cluster.labels")
    ? cluster.labels
    : Object.fromEntries(
        names.flatMap((name) => (name.startsWith("cluster.labels.") ? [[name.slice("cluster.labels.".length), clusterValue(name, cluster) ?? ""]] : [])),
      );
  const asked = { ...(names.includes("cluster.name") ? { name: cluster.name } : {}), ...(Object.keys(labels).length === 0 ? {} : { labels }) };
  return mergeValues(values, { global: { flotilla: { cluster: asked } } });
}
