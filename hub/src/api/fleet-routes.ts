import Type from "typebox";
import { apiPrefix, FleetCreate, FleetCreated, FleetRow, Rendered, RevisionRow, TargetRow, Trace } from "@flotilla/proto/rest/contract";
import { isName, nameRule } from "@flotilla/proto/names";
import type { LabelSelector } from "../domain/fleet-spec.ts";
import { resolveInside } from "../domain/source-tree.ts";
import { actorOf } from "./actor-of.ts";
import { ApiProblem, notFound } from "./api-problem.ts";
import type { ApiOptions, NewFleet, SyncChoice } from "./ports.ts";
import { answers, boundsOf, listQuery, nameParameter, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const fleetParams = Type.Object({ fleet: nameParameter });
const tags = ["fleets"];

export function addFleetRoutes(app: ApiApp, options: ApiOptions): void {
  const { store } = options;

  /** @throws ApiProblem 404. */
  const fleetOf = async (name: string): Promise<FleetRow> => {
    const row = await store.readFleet(name);
    if (row === undefined) throw notFound("fleet", name, "`fleet list` shows those there are");
    return row;
  };

  /** @throws ApiProblem 404. */
  const mustExist = async (name: string): Promise<void> => {
    if (!(await store.hasFleet(name))) throw notFound("fleet", name, "`fleet list` shows those there are");
  };

  app.get(
    `${apiPrefix}/fleets`,
    { schema: { operationId: "listFleets", summary: "Fleets by name", tags, querystring: listQuery(["name"]), response: answers({ 200: pageOf(FleetRow) }) } },
    (request) => store.readFleets(boundsOf(request.query)),
  );

  app.post(
    `${apiPrefix}/fleets`,
    { schema: { operationId: "createFleet", summary: "Follow a repository", tags, body: FleetCreate, response: answers({ 201: FleetCreated }) } },
    async (request, reply) => {
      const fleet = checkFleet(request.body, options);
      const { repositoryId, webhookSecret } = await store.createFleet(actorOf(request), fleet);
      const webhook = { path: `${apiPrefix}/webhooks/${repositoryId}`, ...(webhookSecret !== undefined && { secret: webhookSecret }) };
      return reply.code(201).send({ fleet: await fleetOf(fleet.name), webhook });
    },
  );

  app.get(
    `${apiPrefix}/fleets/:fleet`,
    { schema: { operationId: "readFleet", summary: "One fleet", tags, params: fleetParams, querystring: noQuery, response: answers({ 200: FleetRow }) } },
    (request) => fleetOf(request.params.fleet),
  );

  const objects = Type.Object(
    {
      objects: Type.Optional(
        Type.Union([Type.Literal("orphan"), Type.Literal("delete")], { description: "What becomes of the objects in the clusters; default orphan" }),
      ),
    },
    { additionalProperties: false },
  );
  app.delete(
    `${apiPrefix}/fleets/:fleet`,
    {
      schema: {
        operationId: "deleteFleet",
        summary: "Delete a fleet; its row goes when every cluster has let go",
        tags,
        params: fleetParams,
        querystring: objects,
        response: answers({ 202: FleetRow }),
      },
    },
    async (request, reply) => {
      await store.deleteFleet(actorOf(request), request.params.fleet, request.query.objects ?? "orphan");
      return reply.code(202).send(await fleetOf(request.params.fleet));
    },
  );

  const objectName = Type.String({ pattern: "^[^/]*(/[^/]*){1,3}$", maxLength: 600 });
  const syncQuery = Type.Object(
    {
      cluster: Type.Optional(nameParameter),
      bundle: Type.Optional(nameParameter),
      object: Type.Optional(
        Type.Union([objectName, Type.Array(objectName, { maxItems: syncObjectsMax })], {
          description: "Only these: Kind/namespace/name, Kind/name, or group/kind/namespace/name",
        }),
      ),
      force: Type.Optional(Type.Boolean({ description: "Also what is unchanged, and hooks that ran" })),
    },
    { additionalProperties: false },
  );
  const syncAnswer = Type.Object({ revision: Type.Union([Type.String(), Type.Null()]) });
  app.post(
    `${apiPrefix}/fleets/:fleet/sync`,
    {
      schema: {
        operationId: "syncFleet",
        summary: "Fetch and reconcile now",
        tags,
        params: fleetParams,
        querystring: syncQuery,
        response: answers({ 202: syncAnswer }),
      },
    },
    async (request, reply) => {
      return reply.code(202).send(await store.wantSync(actorOf(request), request.params.fleet, syncChoice(request.query)));
    },
  );

  app.get(
    `${apiPrefix}/fleets/:fleet/targets`,
    {
      schema: {
        operationId: "listTargets",
        summary: "What each cluster should run, and runs",
        tags,
        params: fleetParams,
        querystring: listQuery(["cluster", "sync", "health"]),
        response: answers({ 200: pageOf(TargetRow) }),
      },
    },
    async (request) => {
      await mustExist(request.params.fleet);
      return store.readTargets({ ...boundsOf(request.query), fleet: request.params.fleet });
    },
  );

  app.get(
    `${apiPrefix}/fleets/:fleet/revisions`,
    {
      schema: {
        operationId: "listRevisions",
        summary: "Revisions, newest first",
        tags,
        params: fleetParams,
        querystring: listQuery([]),
        response: answers({ 200: pageOf(RevisionRow) }),
      },
    },
    async (request) => {
      await mustExist(request.params.fleet);
      return store.readRevisions({ ...boundsOf(request.query), fleet: request.params.fleet });
    },
  );

  const revisionParams = Type.Object({
    fleet: nameParameter,
    revision: Type.String({ pattern: "^[0-9a-f]{4,64}$", description: "Full hash, or a prefix that names one" }),
  });
  app.get(
    `${apiPrefix}/fleets/:fleet/revisions/:revision/trace`,
    {
      schema: {
        operationId: "readTrace",
        summary: "The path of one revision, with times",
        tags,
        params: revisionParams,
        querystring: noQuery,
        response: answers({ 200: Trace }),
      },
    },
    async (request) => {
      await mustExist(request.params.fleet);
      return store.readTrace(request.params.fleet, request.params.revision);
    },
  );

  const renderedParams = Type.Object({ fleet: nameParameter, cluster: nameParameter });
  app.get(
    `${apiPrefix}/fleets/:fleet/rendered/:cluster`,
    {
      schema: {
        operationId: "readRendered",
        summary: "The objects a cluster gets; values of Secrets are hashes",
        tags,
        params: renderedParams,
        querystring: Type.Object(
          { revision: Type.Optional(Type.String({ minLength: 4, maxLength: 64, description: "One that was released there before, or its first characters" })) },
          { additionalProperties: false },
        ),
        response: answers({ 200: Rendered }),
      },
    },
    async (request) => {
      const { fleet, cluster } = request.params;
      await mustExist(fleet);
      const rendered = await store.readRendered(fleet, cluster, request.query.revision);
      if (rendered !== undefined) return rendered;
      if ((await store.readCluster(cluster)) === undefined) throw notFound("cluster", cluster, "`fleet cluster list` shows those there are");
      throw notFound("target", `${fleet}/${cluster}`, "the fleet's selector does not match the cluster, or nothing was released yet");
    },
  );
}

/** Objects of one sync: a list that people type. */
const syncObjectsMax = 100;

function syncChoice({ object, ...query }: { cluster?: string; bundle?: string; object?: string | string[]; force?: boolean }): SyncChoice {
  return { ...query, ...(object !== undefined && { objects: [object].flat() }) };
}

/** @throws ApiProblem 400 with every problem at once. */
function checkFleet(body: FleetCreate, options: ApiOptions): NewFleet {
  const problems: { code: string; message: string; hint?: string }[] = [];
  if (!isName(body.name)) problems.push({ code: "invalid-name", message: `'${body.name.slice(0, 80)}' cannot be a fleet's name: ${nameRule}` });
  const repository = options.checkRepositoryUrl(body.repository);
  if (!repository.ok) problems.push(repository.problem);
  const path = resolveInside("", body.path ?? "");
  if (path === undefined)
    problems.push({
      code: "path-outside-repository",
      message: `the path '${body.path}' leads out of the repository`,
      hint: "name a folder inside the repository",
    });
  // The source takes HEAD for the branch that the server calls its default.
  const ref = body.ref ?? { branch: "HEAD" };
  const [refName = ""] = Object.values(ref);
  if (!isRefName(refName) || Object.keys(ref).length !== 1)
    problems.push({ code: "invalid-ref", message: `'${refName.slice(0, 80)}' cannot be a branch, tag, commit or version range` });
  if (problems.length > 0 || !repository.ok || path === undefined) {
    throw new ApiProblem(400, problems[0]?.code ?? "invalid-request", problems[0]?.message ?? "", { hint: problems[0]?.hint, problems });
  }
  const { credentials, webhookSecret, pollIntervalMs } = body;
  return {
    name: body.name,
    url: repository.url,
    ref,
    path,
    selector: (body.selector ?? null) as LabelSelector | null,
    ...(credentials !== undefined && { credentials }),
    ...(webhookSecret !== undefined && { webhookSecret }),
    ...(pollIntervalMs !== undefined && { pollIntervalMs }),
  };
}

/** Bounded, printable, and never an option of Git's; the source checks it again by Git's own rules. */
function isRefName(ref: string): boolean {
  return ref.length > 0 && ref.length <= 255 && !ref.startsWith("-") && /^[\x20-\x7e\u00a0-\uffff]+$/.test(ref);
}
