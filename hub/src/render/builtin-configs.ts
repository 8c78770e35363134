import { isMap } from "../domain/merge-values.ts";
import type { Problem } from "../domain/problem.ts";
import { resolveInside } from "../domain/source-tree.ts";
import { readManifests, type Manifest } from "./kube-yaml.ts";

/** Members of a generator's or transformer's configuration in which Kustomize looks for files, or for places to fetch from. */
const fileMembers = new Set(["path", "paths", "files", "envs", "env", "repo", "chartHome", "valuesFile", "additionalValuesFiles"]);

/**
 * Configurations of Kustomize's own generators and transformers (`apiVersion: builtin`) that reach out of the repository or to
 * another host. Kustomize would answer differently for a file that exists on the hub and one that does not, and would try
 * to fetch; so it is not asked.
 *
 * @param folder the folder that relative references start from.
 */
export function checkBuiltinConfigs(file: string, content: string | Uint8Array, folder: string): Problem[] {
  const text = typeof content === "string" ? content : Buffer.from(content).toString("utf8");
  if (!text.includes("builtin")) return [];
  return readManifests(file, text, { references: false }).manifests.flatMap((manifest) => [...checkInline(manifest, folder), ...checkConfig(manifest, folder)]);
}

/** A kustomization may hold such configurations as text. */
function checkInline(kustomization: Manifest, folder: string): Problem[] {
  return ["generators", "transformers", "validators"].flatMap((field) => {
    const items = kustomization.content[field];
    if (!Array.isArray(items)) return [];
    return (items as readonly unknown[]).flatMap((item, index) => {
      if (typeof item !== "string" || !item.includes("builtin")) return [];
      const place = kustomization.placeOf([field, index]);
      return checkBuiltinConfigs(place.file, item, folder).map((problem) => ({ ...problem, ...place }));
    });
  });
}

function checkConfig(manifest: Manifest, folder: string): Problem[] {
  if (manifest.content["apiVersion"] !== "builtin") return [];
  const problems: Problem[] = [];
  const visit = (value: unknown, key: string, path: readonly (string | number)[]): void => {
    if (typeof value === "string") {
      if (fileMembers.has(key)) problems.push(...checkReference(value, manifest, path, folder));
    } else if (Array.isArray(value)) {
      for (const [index, item] of (value as readonly unknown[]).entries()) visit(item, key, [...path, index]);
    } else if (isMap(value as never)) {
      // Paths of fields inside objects are no files.
      for (const [member, inner] of Object.entries(value as object))
        if (member !== "fieldSpecs" && member !== "fieldPaths") visit(inner, member, [...path, member]);
    }
  };
  visit(manifest.content, "", []);
  return problems;
}

function checkReference(written: string, manifest: Manifest, path: readonly (string | number)[], folder: string): Problem[] {
  const place = manifest.placeOf(path);
  const reference = written.slice(written.indexOf("=") + 1);
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference) || /^[^/\s]+@[^/\s]+:/.test(reference)) {
    return [
      {
        code: "remote-reference",
        message: "the configuration names something remote: nothing is fetched while rendering",
        ...place,
        hint: "copy what it names into the repository",
      },
    ];
  }
  if (resolveInside(folder, reference) !== undefined) return [];
  return [
    {
      code: "path-outside-repository",
      message: "the configuration names a file outside the repository",
      ...place,
      hint: "name something inside the repository, relative to the kustomization",
    },
  ];
}
