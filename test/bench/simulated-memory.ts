import { ApiServer } from "../harness/simulated/api-server.ts";

/** What an idle simulated cluster costs: `node --expose-gc test/bench/simulated-memory.ts`. Objects are applied in memory, without TLS and without an agent. */

const [clusters, objects] = [2_000, 100];

function applyOne(api: ApiServer, name: string): void {
  const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { "flotilla.dev/fleet": "shop" } }, data: { a: "1", b: "two" } };
  api.handle({
    method: "PATCH",
    path: `/api/v1/namespaces/default/configmaps/${name}`,
    query: new URLSearchParams("fieldManager=flotilla"),
    contentType: "application/apply-patch+yaml",
    accept: "application/json",
    userAgent: "bench",
    body: JSON.stringify(body),
  });
}

globalThis.gc?.();
const before = process.memoryUsage().rss;
const began = performance.now();
const kept = Array.from({ length: clusters }, () => new ApiServer());
for (const api of kept) for (let index = 0; index < objects; index++) applyOne(api, `c${index}`);
const seconds = (performance.now() - began) / 1_000;
globalThis.gc?.();
const kib = (process.memoryUsage().rss - before) / kept.length / 1_024;
process.stdout.write(
  `${clusters} clusters of ${objects} ConfigMaps: ${kib.toFixed(0)} KiB each, ${((clusters * objects) / seconds).toFixed(0)} applies per second on one core\n`,
);
