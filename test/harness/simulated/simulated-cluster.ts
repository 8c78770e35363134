import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type KubeClient, kubeClient } from "../kube-client.ts";
import type { KubeCluster } from "../kube-cluster.ts";
import { removeFolder, scratchFolder } from "../scratch-folder.ts";
import { ApiServer } from "./api-server.ts";
import { startControllers } from "./controllers.ts";
import { type FaultOptions, faultsOf } from "./faults.ts";
import { SimulatedHost } from "./simulated-host.ts";

export interface SimulatedOptions extends FaultOptions {
  readonly name: string;
  /** The listener that serves it; its own when left out. */
  readonly host?: SimulatedHost;
  /** Plays kube-controller-manager, scheduler and kubelet: what is deleted goes with what it owns, namespaces finish, pods run. */
  readonly controllers?: boolean;
  /** Versions that a watch may go back. */
  readonly maxEvents?: number;
}

/** One request that was answered. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly userAgent: string;
  readonly status: number;
}

/** A cluster that only looks like one: the part of a real one's face that agents and tests use. */
export interface SimulatedCluster extends Pick<KubeCluster, "name" | "url" | "caFile" | "token" | "kubeconfig" | "client" | "stop"> {
  readonly api: ApiServer;
  /** Forget what happened: the next watches from before are answered 410. */
  compact(): void;
  /** Break every HTTP/2 connection to its host, as a network does. */
  disconnect(): void;
  /** Every request since the start, oldest first, at most `maxSeen`. */
  readonly seen: readonly SeenRequest[];
}

/** Bounds what tests read back; a cluster in a crowd keeps none. */
const maxSeen = 20_000;

export async function startSimulatedCluster(options: SimulatedOptions): Promise<SimulatedCluster> {
  const host = options.host ?? (await SimulatedHost.start());
  const folder = await scratchFolder(`simulated-${options.name}`);
  const token = randomBytes(24).toString("hex");
  const api = new ApiServer(options.maxEvents);
  const seen: SeenRequest[] = [];
  const url = host.add(options.name, {
    api,
    token,
    faults: faultsOf(options),
    onRequest: ({ method, path, userAgent }, status) => {
      if (seen.length < maxSeen) seen.push({ method, path, userAgent, status });
    },
  });
  const stopControllers = options.controllers ? startControllers(api) : () => undefined;
  const caFile = join(folder, "ca.crt");
  await writeFile(caFile, host.certificate);
  const kubeconfig = await writeKubeconfig(folder, { name: options.name, url, token, ca: host.certificate });
  const client: KubeClient = kubeClient({ url, token, ca: host.certificate });
  return {
    name: options.name,
    url,
    caFile,
    token,
    kubeconfig,
    client,
    api,
    seen,
    compact: () => api.store.compact(),
    disconnect: () => host.disconnect(),
    async stop() {
      stopControllers();
      client.close();
      host.remove(options.name);
      if (!options.host) await host.stop();
      await removeFolder(folder);
    },
  };
}

async function writeKubeconfig(folder: string, { name, url, token, ca }: { name: string; url: string; token: string; ca: string }): Promise<string> {
  const file = join(folder, "kubeconfig");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    contexts: [{ name, context: { cluster: name, user: "admin" } }],
    clusters: [{ name, cluster: { server: url, "certificate-authority-data": Buffer.from(ca).toString("base64") } }],
    users: [{ name: "admin", user: { token } }],
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
