import Type from "typebox";
import {
  apiPrefix,
  ClusterMarkWord,
  HoldCreate,
  HoldRow,
  ReleaseRow,
  Released,
  RevertBranch,
  RevertBranchCreate,
  RollbackAnswer,
  RollbackCreate,
  RolloutAct,
  RolloutClusterRow,
  RolloutDecisionRow,
  RolloutRow,
  RolloutStatus,
} from "@flotilla/proto/rest/contract";
import { actorOf } from "./actor-of.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, nameParameter, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["rollouts"];
const fleetParams = Type.Object({ fleet: nameParameter });
const rolloutParams = Type.Object({ rollout: Type.Integer({ minimum: 1 }) });

const acts = {
  pause: "Release nothing new until it is resumed",
  resume: "Go on after a pause",
  approve: "Let the next wave begin",
  abort: "End the rollout; what is released stays",
  restart: "Roll the newest good revision out from its first wave on",
} as const;

/** Rollouts, what people say about them, and what was released where. */
export function addRolloutRoutes(app: ApiApp, { store, revertBranch }: ApiOptions): void {
  app.get(
    `${apiPrefix}/rollouts`,
    {
      schema: {
        operationId: "listRollouts",
        summary: "Rollouts, newest first",
        tags,
        querystring: listQuery(["fleet"]),
        response: answers({ 200: pageOf(RolloutRow) }),
      },
    },
    (request) => store.readRollouts(boundsOf(request.query)),
  );
  app.get(
    `${apiPrefix}/rollouts/:rollout/decisions`,
    {
      schema: {
        operationId: "listRolloutDecisions",
        summary: "What was decided, and why, newest first",
        tags,
        params: rolloutParams,
        querystring: listQuery([]),
        response: answers({ 200: pageOf(RolloutDecisionRow) }),
      },
    },
    (request) => store.readDecisions(request.params.rollout, boundsOf(request.query)),
  );
  app.get(
    `${apiPrefix}/rollouts/:rollout/clusters`,
    {
      schema: {
        operationId: "listRolloutClusters",
        summary: "What a rollout has made of each cluster",
        tags,
        params: rolloutParams,
        querystring: listQuery([], { mark: Type.Optional(ClusterMarkWord) }),
        response: answers({ 200: pageOf(RolloutClusterRow) }),
      },
    },
    (request) => store.readRolloutClusters(request.params.rollout, boundsOf(request.query)),
  );
  app.get(
    `${apiPrefix}/fleets/:fleet/rollout`,
    {
      schema: {
        operationId: "readRollout",
        summary: "What a fleet's rollout is doing, and what keeps it",
        tags,
        params: fleetParams,
        querystring: noQuery,
        response: answers({ 200: RolloutStatus }),
      },
    },
    (request) => store.readRolloutStatus(request.params.fleet),
  );
  for (const act of Object.keys(acts) as (keyof typeof acts)[]) {
    app.post(
      `${apiPrefix}/fleets/:fleet/rollout/${act}`,
      { schema: { operationId: `${act}Rollout`, summary: acts[act], tags, params: fleetParams, body: RolloutAct, response: answers({ 200: RolloutStatus }) } },
      async (request) => {
        const { fleet } = request.params;
        if (act === "approve" && (request.body.reason ?? "").trim() === "")
          throw new ApiProblem(400, "invalid-request", "an approval takes a reason", { hint: "what was looked at: fleet rollout approve --reason" });
        await store.actOnRollout(actorOf(request, request.body.reason), fleet, act, { wave: request.body.wave });
        return store.readRolloutStatus(fleet);
      },
    );
  }

  app.post(
    `${apiPrefix}/fleets/:fleet/rollback`,
    {
      schema: {
        operationId: "rollBack",
        summary: "Go back to an older revision, and stay there until it is let go; Git need not be reachable",
        tags,
        params: fleetParams,
        body: RollbackCreate,
        response: answers({ 200: RollbackAnswer }),
      },
    },
    async (request) => {
      const { reason, ...wanted } = request.body;
      return { pins: await store.rollBack(actorOf(request, reason), request.params.fleet, wanted) };
    },
  );
  app.post(
    `${apiPrefix}/fleets/:fleet/revert-branch`,
    {
      schema: {
        operationId: "revertBranch",
        summary: "Commit the fleet's folder as it was on top of its branch, and push that as a new branch to be merged",
        tags,
        params: fleetParams,
        body: RevertBranchCreate,
        response: answers({ 200: RevertBranch }),
      },
    },
    async (request) => {
      const { revision, name, reason } = request.body;
      const reverted = await revertBranch(actorOf(request, reason), request.params.fleet, { revision, name });
      if (!("commit" in reverted)) throw new ApiProblem(409, reverted.code, reverted.message, reverted.hint === undefined ? {} : { hint: reverted.hint });
      return reverted;
    },
  );
  app.delete(
    `${apiPrefix}/fleets/:fleet/keeps`,
    {
      schema: {
        operationId: "letGo",
        summary: "End the hold and the pins of a fleet, or the pin of one cluster, and a pause: it follows Git again",
        tags,
        params: fleetParams,
        querystring: Type.Object({ cluster: Type.Optional(nameParameter) }, { additionalProperties: false }),
        response: answers({ 200: Released }),
      },
    },
    (request) => store.letGo(actorOf(request), request.params.fleet, request.query.cluster),
  );

  app.get(
    `${apiPrefix}/holds`,
    {
      schema: {
        operationId: "listHolds",
        summary: "Fleets to which nothing new is released",
        tags,
        querystring: noQuery,
        response: answers({ 200: Type.Object({ items: Type.Array(HoldRow) }) }),
      },
    },
    async () => ({ items: await store.readHolds() }),
  );
  app.post(
    `${apiPrefix}/holds`,
    {
      schema: {
        operationId: "hold",
        summary: "Release nothing new to a fleet, or to any, until a time or until it is let go",
        tags,
        body: HoldCreate,
        response: answers({ 200: HoldRow }),
      },
    },
    (request) => {
      const { fleet, reason, until } = request.body;
      const end = until === undefined ? undefined : new Date(until);
      if (end !== undefined && end.getTime() <= Date.now())
        throw new ApiProblem(400, "invalid-request", `${until ?? ""} is over already`, { hint: "give a time to come" });
      return store.hold(actorOf(request, reason), fleet, end);
    },
  );
  app.delete(
    `${apiPrefix}/holds`,
    { schema: { operationId: "unfreeze", summary: "End the freeze of all fleets", tags, querystring: noQuery, response: answers({ 204: Type.Null() }) } },
    async (request, reply) => {
      await store.unfreeze(actorOf(request));
      return reply.code(204).send();
    },
  );

  app.get(
    `${apiPrefix}/releases`,
    {
      schema: {
        operationId: "listReleases",
        summary: "What was released where, newest first; with `at`, what ran then",
        tags,
        querystring: listQuery(["fleet", "cluster"], { at: Type.Optional(Type.String({ format: "date-time" })) }),
        response: answers({ 200: pageOf(ReleaseRow) }),
      },
    },
    (request) => store.readReleases(boundsOf(request.query)),
  );
}
