import Type from "typebox";
import { apiPrefix, Suspension, SuspensionCreate, WindowOverride, WindowOverrideCreate } from "@flotilla/proto/rest/contract";
import type { ActScope } from "../domain/suspension.ts";
import { actorOf } from "./actor-of.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, nameParameter, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["suspensions"];

/** What people stop and let go on, and windows that they open in an emergency. */
export function addSuspensionRoutes(app: ApiApp, { store }: ApiOptions): void {
  const scope = Type.Object(
    { fleet: Type.Optional(nameParameter), cluster: Type.Optional(nameParameter), bundle: Type.Optional(nameParameter) },
    { additionalProperties: false },
  );
  const query = listQuery(["fleet", "cluster"]);

  app.get(
    `${apiPrefix}/suspensions`,
    { schema: { operationId: "listSuspensions", summary: "What is suspended", tags, querystring: query, response: answers({ 200: pageOf(Suspension) }) } },
    (request) => store.readSuspensions(boundsOf(request.query)),
  );
  app.post(
    `${apiPrefix}/suspensions`,
    {
      schema: {
        operationId: "suspend",
        summary: "Nothing is applied, pruned or healed there any more; all is watched and reported",
        tags,
        body: SuspensionCreate,
        response: answers({ 200: Suspension }),
      },
    },
    (request) => store.suspend(actorOf(request, request.body.reason), checkScope(request.body)),
  );
  app.delete(
    `${apiPrefix}/suspensions`,
    { schema: { operationId: "resume", summary: "End a suspension", tags, querystring: scope, response: answers({ 204: Type.Null() }) } },
    async (request, reply) => {
      await store.resume(actorOf(request), checkScope(request.query));
      return reply.code(204).send();
    },
  );

  app.get(
    `${apiPrefix}/window-overrides`,
    {
      schema: {
        operationId: "listWindowOverrides",
        summary: "Sync windows that are open by an override",
        tags,
        querystring: query,
        response: answers({ 200: pageOf(WindowOverride) }),
      },
    },
    (request) => store.readOverrides(boundsOf(request.query)),
  );
  app.post(
    `${apiPrefix}/window-overrides`,
    {
      schema: {
        operationId: "overrideWindows",
        summary: "Open the sync windows of a fleet for some time, in an emergency",
        tags,
        body: WindowOverrideCreate,
        response: answers({ 200: WindowOverride }),
      },
    },
    (request) => store.overrideWindows(actorOf(request, request.body.reason), checkScope(request.body), new Date(Date.now() + request.body.forMs)),
  );
  app.delete(
    `${apiPrefix}/window-overrides`,
    {
      schema: {
        operationId: "endWindowOverride",
        summary: "Let the sync windows count again",
        tags,
        querystring: scope,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await store.endOverride(actorOf(request), checkScope(request.query));
      return reply.code(204).send();
    },
  );
}

/** @throws ApiProblem 400 when it is about nothing, or about a bundle of no fleet. */
function checkScope({ fleet = "", cluster = "", bundle = "" }: { fleet?: string; cluster?: string; bundle?: string }): ActScope {
  if (fleet === "" && cluster === "")
    throw new ApiProblem(400, "invalid-request", "it names neither a fleet nor a cluster", { hint: "give fleet, cluster, or both" });
  if (bundle !== "" && fleet === "") throw new ApiProblem(400, "invalid-request", `bundle '${bundle}' is of no fleet`, { hint: "give the fleet too" });
  return { fleet, cluster, bundle };
}
