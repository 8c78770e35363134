import Type from "typebox";
import { apiPrefix, ClusterCreate, ClusterPatch, ClusterPhase, ClusterRow, Enrolment } from "@flotilla/proto/rest/contract";
import { enrolTokenLifetimeMaxMs, enrolTokenLifetimeMs, maxLabelsPerCluster } from "@flotilla/proto/limits";
import { apiGroup, isName, nameRule } from "@flotilla/proto/names";
import { parseLabelSelector } from "../domain/parse-label-selector.ts";
import type { Actor } from "../domain/actor.ts";
import { actorOf } from "./actor-of.ts";
import { ApiProblem, notFound } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, nameParameter, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const clusterParams = Type.Object({ cluster: nameParameter });
const tags = ["clusters"];

export function addClusterRoutes(app: ApiApp, options: ApiOptions): void {
  const { store } = options;

  /** @throws ApiProblem 404. */
  const clusterOf = async (name: string): Promise<ClusterRow> => {
    const row = await store.readCluster(name);
    if (row === undefined) throw notFound("cluster", name, "`fleet cluster list` shows those there are");
    return row;
  };

  const enrolmentOf = async (actor: Actor, cluster: string, lifetimeMs: number): Promise<Enrolment> => {
    const { token, expiresAt } = await options.mintToken(actor, cluster, lifetimeMs);
    return { cluster, token, expiresAt: expiresAt.toISOString(), enrolAddress: options.hub.enrolAddress, caHash: options.hub.caHash };
  };

  const listed = listQuery(["fleet"], {
    labelSelector: Type.Optional(Type.String({ maxLength: 1_000, description: "As kubectl's: env=prod,region in (eu,us)" })),
    phase: Type.Optional(ClusterPhase),
  });
  app.get(
    `${apiPrefix}/clusters`,
    { schema: { operationId: "listClusters", summary: "Clusters by name", tags, querystring: listed, response: answers({ 200: pageOf(ClusterRow) }) } },
    (request) => {
      const { labelSelector, ...query } = boundsOf(request.query);
      const parsed = parseLabelSelector(labelSelector ?? "");
      if (!parsed.ok) throw new ApiProblem(400, "invalid-selector", parsed.message);
      return store.readClusters({ ...query, labels: parsed.expressions });
    },
  );

  app.post(
    `${apiPrefix}/clusters`,
    {
      schema: {
        operationId: "createCluster",
        summary: "Add a cluster; the answer's token is shown once",
        tags,
        body: ClusterCreate,
        response: answers({ 201: Enrolment }),
      },
    },
    async (request, reply) => {
      const { name, labels = {}, tokenLifetimeMs } = request.body;
      if (!isName(name)) throw new ApiProblem(400, "invalid-name", `'${name.slice(0, 80)}' cannot be a cluster's name: ${nameRule}`);
      const lifetimeMs = checkLifetime(tokenLifetimeMs);
      checkLabels(labels);
      await store.createCluster(actorOf(request), name, labels);
      return reply.code(201).send(await enrolmentOf(actorOf(request), name, lifetimeMs));
    },
  );

  app.get(
    `${apiPrefix}/clusters/:cluster`,
    {
      schema: { operationId: "readCluster", summary: "One cluster", tags, params: clusterParams, querystring: noQuery, response: answers({ 200: ClusterRow }) },
    },
    (request) => clusterOf(request.params.cluster),
  );

  app.patch(
    `${apiPrefix}/clusters/:cluster`,
    {
      schema: {
        operationId: "changeLabels",
        summary: "Set labels; null removes one",
        tags,
        params: clusterParams,
        body: ClusterPatch,
        response: answers({ 200: ClusterRow }),
      },
    },
    async (request) => {
      checkLabels(request.body.labels);
      await store.changeLabels(actorOf(request), request.params.cluster, request.body.labels);
      return clusterOf(request.params.cluster);
    },
  );

  app.delete(
    `${apiPrefix}/clusters/:cluster`,
    {
      schema: {
        operationId: "removeCluster",
        summary: "Forget a cluster; its credentials are revoked, what runs in it stays",
        tags,
        params: clusterParams,
        querystring: noQuery,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await store.removeCluster(actorOf(request), request.params.cluster);
      return reply.code(204).send();
    },
  );

  const lifetime = Type.Object({ lifetimeMs: Type.Optional(Type.Integer({ minimum: 1 })) }, { additionalProperties: false });
  app.post(
    `${apiPrefix}/clusters/:cluster/tokens`,
    {
      schema: {
        operationId: "createToken",
        summary: "A new enrolment token; those not used yet are void",
        tags,
        params: clusterParams,
        querystring: lifetime,
        response: answers({ 201: Enrolment }),
      },
    },
    async (request, reply) => {
      const lifetimeMs = checkLifetime(request.query.lifetimeMs);
      await clusterOf(request.params.cluster);
      return reply.code(201).send(await enrolmentOf(actorOf(request), request.params.cluster, lifetimeMs));
    },
  );
}

function checkLifetime(lifetimeMs = enrolTokenLifetimeMs): number {
  if (lifetimeMs > 0 && lifetimeMs <= enrolTokenLifetimeMaxMs) return lifetimeMs;
  throw new ApiProblem(400, "invalid-lifetime", `a token lives at most ${enrolTokenLifetimeMaxMs / 3_600_000} hours`, {
    hint: "tokens are for the installation only; agents renew their certificates by themselves",
  });
}

const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** Kubernetes' rules, so that a selector written for one works for the other. */
function checkLabels(labels: Readonly<Record<string, string | null>>): void {
  const entries = Object.entries(labels);
  const problems = entries.flatMap(([key, value]) => {
    if (key.startsWith(`${apiGroup}/`)) return [{ code: "invalid-label", message: `labels that begin with ${apiGroup}/ are the hub's own: '${key}'` }];
    if (!labelKey.test(key)) return [{ code: "invalid-label", message: `'${key.slice(0, 80)}' cannot be a label's key` }];
    return value === null || labelValue.test(value)
      ? []
      : [{ code: "invalid-label", message: `'${value.slice(0, 80)}' cannot be the value of label '${key}'` }];
  });
  if (entries.length > maxLabelsPerCluster) problems.push({ code: "invalid-label", message: `a cluster has at most ${maxLabelsPerCluster} labels` });
  if (problems.length > 0)
    throw new ApiProblem(400, "invalid-label", problems[0]?.message ?? "", { problems, hint: "keys and values follow Kubernetes' rules for labels" });
}
