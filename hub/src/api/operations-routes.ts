import Type from "typebox";
import type { Tally } from "@flotilla/proto/rest/contract";
import { readyMs } from "../limits.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, noQuery } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["operations"];
const open = { config: { isPublic: true } };

/** Health, metrics, and the documents that describe this API and fleet.yaml. No token. */
export function addOperationsRoutes(app: ApiApp, options: ApiOptions): void {
  const { store } = options;
  const words = Type.Object({ status: Type.Literal("ok") });

  app.get(
    "/healthz",
    { ...open, schema: { operationId: "healthz", summary: "The process answers", tags, security: [], response: answers({ 200: words }) } },
    () => ({ status: "ok" }),
  );

  app.get(
    "/readyz",
    { ...open, schema: { operationId: "readyz", summary: "The database answers", tags, security: [], response: answers({ 200: words }) } },
    async () => {
      const late = new Promise<never>((_resolve, reject) => setTimeout(() => reject(new Error("late")), readyMs).unref());
      await Promise.race([store.ping(), late]).catch(() => {
        throw new ApiProblem(503, "not-ready", "the database does not answer");
      });
      return { status: "ok" };
    },
  );

  app.get(
    "/metrics",
    {
      ...open,
      schema: { operationId: "metrics", summary: "Prometheus text", tags, security: [], querystring: noQuery, response: answers({ 200: Type.String() }) },
    },
    async (_request, reply) => {
      const [own, fleets] = await Promise.all([options.renderMetrics(), fleetMetrics(store).catch(() => "")]);
      return reply.type("text/plain; version=0.0.4; charset=utf-8").send(`${own.endsWith("\n") || own === "" ? own : `${own}\n`}${fleets}`);
    },
  );

  app.get("/openapi.json", { ...open, schema: { hide: true } }, () => (app as unknown as { swagger(): object }).swagger());
  app.get("/schemas/fleet.v1.json", { ...open, schema: { hide: true } }, (_request, reply) =>
    reply.type("application/schema+json").send(JSON.stringify(options.fleetSchema)),
  );
}

/** Counted in the database, where a cluster whose lease ran out is Unknown. */
async function fleetMetrics(store: ApiOptions["store"]): Promise<string> {
  const [tallies, counts] = await Promise.all([store.readTallies(), store.countRows()]);
  const lines = [
    "# HELP flotilla_clusters Clusters that were not removed.",
    "# TYPE flotilla_clusters gauge",
    `flotilla_clusters ${counts.clusters}`,
    "# HELP flotilla_clusters_connected Clusters whose lease holds.",
    "# TYPE flotilla_clusters_connected gauge",
    `flotilla_clusters_connected ${counts.connected}`,
    "# HELP flotilla_fleet_clusters Clusters of a fleet by state.",
    "# TYPE flotilla_fleet_clusters gauge",
    ...tallies.flatMap(({ fleet, tally }) => states.map(([state, count]) => `flotilla_fleet_clusters{fleet="${fleet}",state="${state}"} ${count(tally)}`)),
  ];
  return `${lines.join("\n")}\n`;
}

const states: readonly (readonly [string, (tally: Tally) => number])[] = [
  ["synced", (tally) => tally.synced],
  ["out_of_sync", (tally) => tally.outOfSync],
  ["unknown", (tally) => tally.unknown],
  ["current", (tally) => tally.current],
  ["in_progress", (tally) => tally.inProgress],
  ["failed", (tally) => tally.failed],
  ["drifted", (tally) => tally.drifted],
];
