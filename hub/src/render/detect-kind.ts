import type { Problem } from "../domain/problem.ts";
import type { SourceTree } from "../domain/source-tree.ts";
import type { BundleKind } from "../domain/bundle-inputs.ts";

/** The names that Kustomize looks for. */
export const kustomizationNames = ["kustomization.yaml", "kustomization.yml", "Kustomization"] as const;

/** The kustomization file of a folder; undefined when it has none. */
export function kustomizationOf(tree: SourceTree, folder: string): string | undefined {
  return kustomizationNames.map((name) => inFolder(folder, name)).find((path) => tree.kindOf(path) === "file");
}

/** What a bundle's folder holds: a kustomization, a chart, or plain manifests. A single file is plain. */
export function detectKind(tree: SourceTree, path: string): BundleKind | Problem {
  const kind = tree.kindOf(path);
  if (kind === "file") return "plain";
  if (kind === undefined) return tree.refused(path) ?? missingPath(path);
  const isChart = tree.kindOf(inFolder(path, "Chart.yaml")) === "file";
  const kustomizations = kustomizationNames.filter((name) => tree.kindOf(inFolder(path, name)) === "file");
  const [kustomization, another] = kustomizations;
  if (kustomization !== undefined && isChart) {
    return {
      code: "ambiguous-bundle",
      message: `the folder has both Chart.yaml and ${kustomization}`,
      file: inFolder(path, kustomization),
      hint: "keep one of them, or put the chart into a folder of its own",
    };
  }
  if (kustomization !== undefined && another !== undefined) {
    return {
      code: "ambiguous-bundle",
      message: `the folder has both ${kustomization} and ${another}`,
      file: inFolder(path, another),
      hint: "keep one of them",
    };
  }
  return isChart ? "helm" : kustomization === undefined ? "plain" : "kustomize";
}

/** A path in a folder; "" is the repository's root. */
export function inFolder(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

function missingPath(path: string): Problem {
  return {
    code: "missing-path",
    message: `there is nothing at ${path === "" ? "the repository's root" : path}`,
    file: path,
    hint: "check the bundle's path in fleet.yaml; it is relative to the fleet's folder",
  };
}
