import Type from "typebox";
import {
  apiPrefix,
  ApprovalKind,
  ApprovalOutcome,
  ApprovalRow,
  HeldPruneRow,
  HeldRemovalAnswer,
  PruneApprovals,
  PruneApprovalRequest,
  RemovalApproval,
  RemovalApprovalRequest,
} from "@flotilla/proto/rest/contract";
import { actorOf } from "./actor-of.ts";
import { ApiProblem, asApiProblem, notFound } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, nameParameter, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const fleetParams = Type.Object({ fleet: nameParameter });
const tags = ["approvals"];

/** What waits for a person's word, and the word. */
export function addApprovalRoutes(app: ApiApp, { store }: ApiOptions): void {
  /** @throws ApiProblem 404. */
  const checkFleet = async (name: string): Promise<void> => {
    if (!(await store.hasFleet(name))) throw notFound("fleet", name, "`fleet list` shows those there are");
  };

  app.get(
    `${apiPrefix}/fleets/:fleet/held-prunes`,
    {
      schema: {
        operationId: "listHeldPrunes",
        summary: "Clusters whose agent holds deletions; /objects?prune=held has the objects",
        tags,
        params: fleetParams,
        querystring: listQuery(["cluster"]),
        response: answers({ 200: pageOf(HeldPruneRow) }),
      },
    },
    async (request) => {
      await checkFleet(request.params.fleet);
      return store.readHeldPrunes({ ...boundsOf(request.query), fleet: request.params.fleet });
    },
  );

  app.post(
    `${apiPrefix}/fleets/:fleet/prune-approvals`,
    {
      schema: {
        operationId: "approvePrunes",
        summary: "Let held deletions go: one list, in the clusters that hold exactly it",
        tags,
        params: fleetParams,
        body: PruneApprovalRequest,
        response: answers({ 201: PruneApprovals }),
      },
    },
    async (request, reply) => {
      const { fleet } = request.params;
      const { clusters, revision, digest, reason } = request.body;
      await checkFleet(fleet);
      const answer: { approved: PruneApprovals["approved"][number][]; refused: PruneApprovals["refused"][number][] } = { approved: [], refused: [] };
      for (const cluster of [...new Set(clusters)]) {
        try {
          answer.approved.push(await store.approvePrunes(actorOf(request, reason), { fleet, cluster, revision, digest }));
        } catch (error) {
          const problem = asApiProblem(error);
          if (problem === undefined || problem.status >= 500) throw error;
          answer.refused.push({ cluster, code: problem.code, message: problem.message, ...(problem.hint !== undefined && { hint: problem.hint }) });
        }
      }
      const [first] = answer.refused;
      if (answer.approved.length === 0 && first !== undefined)
        throw new ApiProblem(first.code === "not-found" ? 404 : 409, first.code, first.message, { hint: first.hint, problems: answer.refused });
      return reply.code(201).send(answer);
    },
  );

  app.get(
    `${apiPrefix}/fleets/:fleet/held-removal`,
    {
      schema: {
        operationId: "readHeldRemoval",
        summary: "Clusters that wait for a person before they leave the fleet",
        tags,
        params: fleetParams,
        querystring: noQuery,
        response: answers({ 200: HeldRemovalAnswer }),
      },
    },
    async (request) => {
      await checkFleet(request.params.fleet);
      return { held: await store.readHeldRemoval(request.params.fleet) };
    },
  );

  app.post(
    `${apiPrefix}/fleets/:fleet/removal-approvals`,
    {
      schema: {
        operationId: "approveRemoval",
        summary: "Let exactly these clusters leave the fleet",
        tags,
        params: fleetParams,
        body: RemovalApprovalRequest,
        response: answers({ 201: RemovalApproval }),
      },
    },
    async (request, reply) => {
      const { digest, reason } = request.body;
      return reply.code(201).send(await store.approveRemoval(actorOf(request, reason), { fleet: request.params.fleet, digest }));
    },
  );

  const query = listQuery(["fleet", "cluster"], { kind: Type.Optional(ApprovalKind), outcome: Type.Optional(ApprovalOutcome) });
  app.get(
    `${apiPrefix}/approvals`,
    {
      schema: {
        operationId: "listApprovals",
        summary: "Who approved what, and what came of it; newest first",
        tags,
        querystring: query,
        response: answers({ 200: pageOf(ApprovalRow) }),
      },
    },
    (request) => store.readApprovals(boundsOf(request.query)),
  );
}
