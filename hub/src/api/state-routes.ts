import Type from "typebox";
import { apiPrefix, BundleRow, DriftRow, EventRow, HealedBy, HubInfo, ObjectRow } from "@flotilla/proto/rest/contract";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["states"];

/** Lists over all fleets: bundles, objects, drift, events; and the hub's own state. */
export function addStateRoutes(app: ApiApp, { store, hub, checks }: ApiOptions): void {
  app.get(
    `${apiPrefix}/bundles`,
    {
      schema: {
        operationId: "listBundles",
        summary: "Bundles as clusters report them",
        tags,
        querystring: listQuery(["fleet", "cluster", "bundle", "sync", "health"]),
        response: answers({ 200: pageOf(BundleRow) }),
      },
    },
    (request) => store.readBundles(boundsOf(request.query)),
  );

  const objectQuery = listQuery(["fleet", "cluster", "bundle", "kind", "namespace", "name", "sync", "health"], {
    troubled: Type.Optional(Type.Boolean({ description: "Only objects that are not Synced and Current" })),
    prune: Type.Optional(
      Type.Union([Type.Literal("held"), Type.Literal("waits"), Type.Literal("terminating")], {
        description: "Only objects that are no longer in Git, and what keeps them",
      }),
    ),
  });
  app.get(
    `${apiPrefix}/objects`,
    {
      schema: {
        operationId: "listObjects",
        summary: "Objects as clusters report them",
        tags,
        querystring: objectQuery,
        response: answers({ 200: pageOf(ObjectRow) }),
      },
    },
    (request) => store.readObjects(boundsOf(request.query)),
  );

  const driftQuery = listQuery(["fleet", "cluster", "bundle", "manager"], {
    object: Type.Optional(Type.String({ minLength: 1, maxLength: 1_024, description: "group/kind/namespace/name, or a part of it in any case" })),
    healedBy: Type.Optional(HealedBy),
    open: Type.Optional(Type.Boolean({ description: "true: not healed yet; false: healed" })),
    since: Type.Optional(Type.String({ format: "date-time", maxLength: 40, description: "Healed then or later, or not at all" })),
  });
  app.get(
    `${apiPrefix}/drift`,
    { schema: { operationId: "listDrift", summary: "Drift, newest first", tags, querystring: driftQuery, response: answers({ 200: pageOf(DriftRow) }) } },
    (request) => store.readDrifts(boundsOf(request.query)),
  );

  const eventQuery = listQuery(["fleet", "cluster", "reason"], {
    after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "Only events with a greater id" })),
    order: Type.Optional(Type.Union([Type.Literal("asc"), Type.Literal("desc")], { description: "By id; default desc" })),
  });
  app.get(
    `${apiPrefix}/events`,
    { schema: { operationId: "listEvents", summary: "What happened", tags, querystring: eventQuery, response: answers({ 200: pageOf(EventRow) }) } },
    (request) => store.readEvents(boundsOf(request.query)),
  );

  app.get(
    `${apiPrefix}/hub`,
    {
      schema: {
        operationId: "readHub",
        summary: "The replica that answers, and its checks",
        tags: ["hub"],
        querystring: noQuery,
        response: answers({ 200: HubInfo }),
      },
    },
    async (): Promise<HubInfo> => {
      const [{ fleets, clusters }, found] = await Promise.all([store.countRows(), checks()]);
      return { ...hub, apiVersion: "v1", fleets, clusters, checks: found };
    },
  );
}
