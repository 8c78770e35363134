import { readFile, writeFile } from "node:fs/promises";
import { type AuditedRequest, type KubeCluster, type KubeClusterOptions, startKubeCluster } from "../../harness/kube-cluster.ts";
import { startTcpProxy, type TcpProxy } from "../../harness/tcp-proxy.ts";

/** A cluster with a wire to it that a test can damage: the agent's, not the test's own. */
export interface ProxiedCluster {
  readonly cluster: KubeCluster;
  readonly proxy: TcpProxy;
  /** Leads through the proxy. */
  readonly kubeconfig: string;
  stop(): Promise<void>;
}

export async function startProxiedCluster(options: KubeClusterOptions): Promise<ProxiedCluster> {
  const cluster = await startKubeCluster({ auditLog: true, ...options });
  const { hostname, port } = new URL(cluster.url);
  const proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } });
  const kubeconfig = `${cluster.kubeconfig}-proxied`;
  const text = await readFile(cluster.kubeconfig, "utf8");
  await writeFile(kubeconfig, text.replace(cluster.url, `https://127.0.0.1:${proxy.port}`), { mode: 0o600 });
  return {
    cluster,
    proxy,
    kubeconfig,
    async stop() {
      await proxy.stop();
      await cluster.stop();
    },
  };
}

/** What the agent asked the API server since a time (epoch ms), once each; a watch counts from its beginning. */
export async function agentRequests(cluster: KubeCluster, sinceMs = 0, untilMs = Infinity): Promise<AuditedRequest[]> {
  const byId = new Map<string, AuditedRequest>();
  for (const request of await cluster.auditedRequests()) {
    const at = Date.parse(request.requestReceivedTimestamp);
    if (request.userAgent === "flotilla-agent" && at >= sinceMs && at < untilMs) byId.set(request.auditID, request);
  }
  return [...byId.values()];
}

/** How often each was asked: "watch configmaps" → 2. */
export function countsOf(requests: readonly AuditedRequest[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { verb, objectRef } of requests) {
    const name = `${verb} ${objectRef?.resource ?? "-"}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
