import type { KubernetesObject, V1Status } from "@kubernetes/client-node";
import { exitCodes } from "../exit-codes.ts";
import { FleetError, wrongUse } from "../fleet-error.ts";
import { kubeRequestMs } from "../limits.ts";
import type { Environment } from "../fleet-context.ts";
import type { KubeManifest } from "./agent-manifests.ts";

/** Field manager of the installation: apart from the agent's, which must not take its own Deployment for a fleet's. */
const fieldManager = "flotilla-install";

export interface KubeChoice {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
}

/** The cluster that a kubeconfig context names, with every way of logging in that kubectl knows. */
export interface KubeCluster {
  readonly context: string;
  readonly server: string;
  /** Server-side apply; takes over fields that somebody else set. */
  apply(manifest: KubeManifest): Promise<void>;
  /** False when it was not there. */
  delete(manifest: KubeManifest): Promise<boolean>;
  read(manifest: KubeManifest): Promise<KubernetesObject | undefined>;
  /** In all namespaces; without what somebody else labelled. */
  list(apiVersion: string, kind: string, labelSelector: string): Promise<KubeManifest[]>;
}

/** Loaded when needed: the client alone takes half a second. Throws FleetError for a kubeconfig or context that is not there. */
export async function openKubeCluster(choice: KubeChoice, env: Environment): Promise<KubeCluster> {
  const { KubeConfig, KubernetesObjectApi, PatchStrategy, ApiException } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    if (choice.kubeconfig !== undefined) config.loadFromFile(choice.kubeconfig);
    else if (env.KUBECONFIG) config.loadFromFile(env.KUBECONFIG.split(":").find((file) => file !== "") ?? "");
    else config.loadFromDefault();
  } catch (error) {
    throw wrongUse(`cannot read the kubeconfig: ${(error as Error).message}`, "give --kubeconfig FILE, or set KUBECONFIG");
  }
  if (choice.context !== undefined) {
    const names = config.getContexts().map(({ name }) => name);
    if (!names.includes(choice.context)) throw wrongUse(`the kubeconfig has no context '${choice.context}'`, `it has: ${names.join(", ") || "none"}`);
    config.setCurrentContext(choice.context);
  }
  const cluster = config.getCurrentCluster();
  if (!cluster) throw wrongUse("the kubeconfig names no current cluster", "give --context NAME; 'kubectl config get-contexts' lists them");
  const api = KubernetesObjectApi.makeApiClient(config);

  const failure = (what: string, error: unknown): FleetError => {
    if (!(error instanceof ApiException))
      return new FleetError(`cannot reach the cluster at ${cluster.server}: ${(error as Error).message}`, exitCodes.unreachable, {
        hint: "try 'kubectl version' with the same context",
        cause: error,
      });
    const message = statusMessage(error.body) ?? `status ${error.code}`;
    const notAllowed = error.code === 401 || error.code === 403;
    return new FleetError(`${what}: ${message}`, notAllowed ? exitCodes.notAllowed : exitCodes.failed, {
      ...(notAllowed && { hint: "installing needs cluster-admin; use a context that has it, or --print and let somebody apply it" }),
      cause: error,
    });
  };
  const absent = (error: unknown): boolean => error instanceof ApiException && error.code === 404;

  return {
    context: config.getCurrentContext(),
    server: cluster.server,
    async apply(manifest) {
      try {
        await inTime(api.patch(manifest as KubernetesObject, undefined, undefined, fieldManager, true, PatchStrategy.ServerSideApply));
      } catch (error) {
        throw failure(`${describeManifest(manifest)} was refused`, error);
      }
    },
    async delete(manifest) {
      try {
        await inTime(api.delete(manifest as KubernetesObject, undefined, undefined, undefined, undefined, "Background"));
        return true;
      } catch (error) {
        if (absent(error)) return false;
        throw failure(`${describeManifest(manifest)} was not deleted`, error);
      }
    },
    async list(apiVersion, kind, labelSelector) {
      try {
        const { items } = await inTime(api.list(apiVersion, kind, undefined, undefined, undefined, undefined, undefined, labelSelector));
        return items.map((item) => ({ ...item, apiVersion, kind }) as KubeManifest);
      } catch (error) {
        throw failure(`${kind} objects could not be listed`, error);
      }
    },
    async read(manifest) {
      try {
        return await inTime(api.read(manifest as Parameters<typeof api.read>[0]));
      } catch (error) {
        if (absent(error)) return undefined;
        throw failure(`${describeManifest(manifest)} could not be read`, error);
      }
    },
  };
}

/** The client itself waits for ever for a server that accepts and does not answer. */
async function inTime<T>(request: Promise<T>): Promise<T> {
  let late: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    late = setTimeout(() => reject(new Error(`no answer within ${kubeRequestMs / 1_000} s`)), kubeRequestMs);
  });
  return Promise.race([request, limit]).finally(() => clearTimeout(late));
}

/** `deployment/flotilla-agent`, as kubectl says it. */
export function describeManifest({ kind, metadata }: KubeManifest): string {
  return `${kind.toLowerCase()}/${metadata.name}`;
}

function statusMessage(body: unknown): string | undefined {
  try {
    const status = (typeof body === "string" ? JSON.parse(body) : body) as Partial<V1Status>;
    return status.message;
  } catch {
    return typeof body === "string" ? body.slice(0, 300) : undefined;
  }
}
