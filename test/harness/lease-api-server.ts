import { truncate } from "node:fs/promises";
import { type ApiServer, type ApiServerOptions, startApiServer } from "./api-server.ts";
import { isRunsEtcdThere } from "./etcd.ts";
import { type HeldKeys, holdKeys, putKeysBack } from "./etcd-keys.ts";
import type { KubeClient } from "./kube-client.ts";
import { waitFor, waitForValue } from "./wait-for.ts";

/** An API server for one test file. */
export interface ApiServerLease {
  readonly server: ApiServer;
  giveBack(): Promise<void>;
}

/** An API server as it was when it had just started, to be so again for the next test file. */
interface Warm {
  readonly server: ApiServer;
  readonly held: HeldKeys;
  readonly view: View;
}

/** What clients see of kinds and namespaces; follows the keys in etcd within moments. */
interface View {
  readonly discovery: string;
  readonly schemas: string;
  readonly namespaces: string;
}

/** A start takes three seconds of a processor, one that waits 1 % of it and some 300 MiB. */
const warmMax = 3;

/** Those of this process that nobody uses; undefined where one could not be brought back. */
const waiting: Promise<Warm | undefined>[] = [];

/**
 * An API server that is as new. In a test run those without flags of their own are handed on from one test file to the next: everything in etcd is put back as
 * it was after the start, and the server's caches follow as they follow any change. What a test killed is not handed on.
 */
export async function leaseApiServer(options: ApiServerOptions): Promise<ApiServerLease> {
  if (options.ownEtcd || options.podSecurity || options.flags?.length || !isRunsEtcdThere()) {
    const server = await startApiServer(options);
    return { server, giveBack: () => server.end() };
  }
  const { server, held, view } = (await takeWaiting()) ?? (await startWarm());
  const { pid } = server;
  await truncate(server.auditLogFile);
  return {
    server,
    async giveBack() {
      if (!server.running || server.pid !== pid || waiting.length >= warmMax) return server.end();
      waiting.push(bringBack({ server, held, view }));
    },
  };
}

async function takeWaiting(): Promise<Warm | undefined> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const warm = await next;
    if (warm?.server.running) return warm;
    await warm?.server.end();
  }
  return undefined;
}

async function startWarm(): Promise<Warm> {
  const server = await startApiServer({ name: "warm", auditLog: true });
  const client = server.newClient();
  try {
    // What it makes by itself after its start: else that would be taken for a test's.
    for (const path of made) await waitFor(() => client.find(path), { what: path });
    return { server, held: await holdKeys(server.etcd.url, server.keysPrefix), view: await viewOf(client) };
  } catch (error) {
    await server.end();
    throw error;
  } finally {
    client.close();
  }
}

const made = [
  ...["kube-system", "kube-public", "kube-node-lease"].map((name) => `/api/v1/namespaces/${name}`),
  "/api/v1/namespaces/default/services/kubernetes",
  "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking",
  "/apis/networking.k8s.io/v1/servicecidrs/kubernetes",
];

/** Ends the server and gives undefined when its view does not come back. */
async function bringBack(warm: Warm): Promise<Warm | undefined> {
  const { server, held, view } = warm;
  const client = server.newClient();
  try {
    await putKeysBack(server.etcd.url, held);
    await waitForValue(
      () => viewOf(client),
      (now) => now.discovery === view.discovery && now.schemas === view.schemas && now.namespaces === view.namespaces,
      { what: "an API server that is as new", timeoutMs: 20_000 },
    );
    return warm;
  } catch {
    await server.end();
    return undefined;
  } finally {
    client.close();
  }
}

async function viewOf(client: KubeClient): Promise<View> {
  const [groups, schemas, namespaces] = await Promise.all([client.text("/apis"), client.text("/openapi/v3"), client.list("/api/v1/namespaces")]);
  return {
    discovery: groups.body,
    schemas: schemas.body,
    namespaces: namespaces
      .map(({ metadata }) => metadata.name)
      .toSorted()
      .join(" "),
  };
}
