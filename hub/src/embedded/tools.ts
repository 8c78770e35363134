import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { toolVersionMs } from "../limits.ts";
import { buildTool } from "./build-tool.ts";

/** One program that Flotilla runs or tests against: the only place that says which version. */
export interface Tool {
  readonly version: string;
  /** Names the program's file, before anything else. */
  readonly env: string;
  readonly goPackage: string;
  /** Folder under hub/tools with the go.mod and go.sum that build it. */
  readonly moduleFolder: string;
  readonly linkerFlags?: string;
  readonly goFlags?: readonly string[];
  /** Where `go install package@version` works without our module: its go.mod replaces nothing. */
  readonly installable: boolean;
  /** How a found program says its version, and which it may be: a renderer's output must not depend on the machine. */
  readonly ask: readonly string[];
  readonly accepts: "same version" | "same major";
}

const kubernetesVersion = "1.36.3";
const kubernetesLinkerFlags = [
  `-X k8s.io/component-base/version.gitVersion=v${kubernetesVersion}`,
  "-X k8s.io/component-base/version.gitMajor=1",
  "-X k8s.io/component-base/version.gitMinor=36",
].join(" ");
const kubernetes = {
  version: kubernetesVersion,
  moduleFolder: "kubernetes",
  linkerFlags: kubernetesLinkerFlags,
  installable: false,
  ask: ["--version"],
  accepts: "same major",
} as const;

export const tools = {
  "nats-server": {
    version: "2.15.1",
    env: "FLOTILLA_NATS_SERVER",
    goPackage: "github.com/nats-io/nats-server/v2",
    moduleFolder: "nats-server",
    installable: true,
    ask: ["--version"],
    accepts: "same major",
  },
  helm: {
    version: "4.3.1",
    env: "FLOTILLA_HELM",
    goPackage: "helm.sh/helm/v4/cmd/helm",
    moduleFolder: "helm",
    linkerFlags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    installable: true,
    ask: ["version", "--template", "{{.Version}}"],
    accepts: "same version",
  },
  kustomize: {
    version: "5.8.2",
    env: "FLOTILLA_KUSTOMIZE",
    goPackage: "sigs.k8s.io/kustomize/kustomize/v5",
    moduleFolder: "kustomize",
    linkerFlags: "-X sigs.k8s.io/kustomize/api/provenance.version=v5.8.2",
    installable: true,
    ask: ["version"],
    accepts: "same version",
  },
  // A program of ours over kustomize's own library, from the same module: it saves starts, and nothing needs it.
  "kustomize-worker": {
    version: "5.8.2",
    env: "FLOTILLA_KUSTOMIZE_WORKER",
    goPackage: "./worker",
    moduleFolder: "kustomize",
    linkerFlags: "-X sigs.k8s.io/kustomize/api/provenance.version=v5.8.2",
    installable: false,
    ask: ["version"],
    accepts: "same version",
  },
  etcd: {
    version: "3.6.8",
    env: "FLOTILLA_ETCD",
    goPackage: "go.etcd.io/etcd/server/v3",
    moduleFolder: "etcd",
    installable: false,
    ask: ["--version"],
    accepts: "same major",
  },
  "kube-apiserver": { ...kubernetes, env: "FLOTILLA_KUBE_APISERVER", goPackage: "k8s.io/kubernetes/cmd/kube-apiserver" },
  "kube-controller-manager": { ...kubernetes, env: "FLOTILLA_KUBE_CONTROLLER_MANAGER", goPackage: "k8s.io/kubernetes/cmd/kube-controller-manager" },
  kubectl: { ...kubernetes, env: "FLOTILLA_KUBECTL", goPackage: "k8s.io/kubernetes/cmd/kubectl", ask: ["version", "--client"] },
  jaeger: {
    version: "1.62.0",
    env: "FLOTILLA_JAEGER",
    goPackage: "github.com/jaegertracing/jaeger/cmd/all-in-one",
    moduleFolder: "jaeger",
    goFlags: ["-mod=mod"],
    installable: false,
    ask: ["version"],
    accepts: "same major",
  },
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof tools;

/** No way led to the program; the message names every way. */
export class ToolMissingError extends Error {
  override readonly name = "ToolMissingError";
  readonly tool: ToolName;

  constructor(tool: ToolName, reason: string, options?: ErrorOptions) {
    const { env, version } = tools[tool];
    super(
      `${tool} ${version} was not found: ${reason}. Any of these helps: set ${env} to the program; ` +
        `set KUBEBUILDER_ASSETS to a folder that has it; put ${tool} on PATH; put it at ${cachedFile(tool)}; install Go 1.26 or newer, then it is built.`,
      options,
    );
    this.tool = tool;
  }
}

const found = new Map<ToolName, Promise<string>>();

/**
 * The file of a program, looked for in this order: its environment variable (trusted as it is), KUBEBUILDER_ASSETS,
 * PATH, the cache, a build with Go into the cache. The first answer counts for the life of this process.
 * Throws ToolMissingError.
 */
export function findTool(name: ToolName): Promise<string> {
  const known = found.get(name);
  if (known) return known;
  const looked = lookForTool(name);
  found.set(name, looked);
  looked.catch(() => found.delete(name));
  return looked;
}

/** The same without building: undefined when only a build could give it. */
export async function findToolWithoutBuild(name: ToolName): Promise<string | undefined> {
  const { env } = tools[name];
  const named = process.env[env];
  if (named) {
    if (isAbsolute(named) && (await isProgram(named))) return named;
    throw new ToolMissingError(name, `${env} is ${named}, which is not the absolute path of a program`);
  }
  for (const folder of [process.env.KUBEBUILDER_ASSETS, ...(process.env.PATH ?? "").split(delimiter)]) {
    if (!folder || !isAbsolute(folder)) continue;
    const file = join(folder, name);
    if ((await isProgram(file)) && (await hasWantedVersion(name, file))) return file;
  }
  return (await isProgram(cachedFile(name))) ? cachedFile(name) : undefined;
}

/** Where a built program is kept: by version, shared by every clone of this user. */
export function cachedFile(name: ToolName): string {
  return join(cacheFolder(), name, tools[name].version, name);
}

export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flotilla", "tools");
}

async function lookForTool(name: ToolName): Promise<string> {
  const existing = await findToolWithoutBuild(name);
  if (existing) return existing;
  if (process.env.FLOTILLA_NO_BUILD) throw new ToolMissingError(name, "FLOTILLA_NO_BUILD forbids to build it");
  try {
    return await buildTool({ name, tool: tools[name], file: cachedFile(name), lockFolder: cacheFolder() });
  } catch (error) {
    throw new ToolMissingError(name, (error as Error).message, { cause: error });
  }
}

async function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function hasWantedVersion(name: ToolName, file: string): Promise<boolean> {
  const { ask, accepts, version } = tools[name];
  try {
    const { stdout, stderr } = await promisify(execFile)(file, [...ask], { timeout: toolVersionMs, env: { PATH: process.env.PATH, HOME: "/nonexistent" } });
    return isWantedVersion(`${stdout}${stderr}`, version, accepts);
  } catch {
    return false;
  }
}

/** Reads the first version in a program's answer; exported for its tests. */
export function isWantedVersion(answer: string, wanted: string, accepts: Tool["accepts"]): boolean {
  const version = /\bv?(\d+)\.(\d+)\.(\d+)/.exec(answer);
  if (!version) return false;
  const [major, minor, patch] = version.slice(1).map(Number) as [number, number, number];
  if (accepts === "same version") return `${major}.${minor}.${patch}` === wanted;
  const [wantedMajor, wantedMinor] = wanted.split(".").map(Number) as [number, number];
  return major === wantedMajor && minor >= wantedMinor;
}
