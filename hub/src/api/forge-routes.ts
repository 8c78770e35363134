import Type from "typebox";
import { apiPrefix, ForgeRow, ForgeSet, ForgeTest, NotifyHookRow, NotifyHookSet, PullRequestRow } from "@flotilla/proto/rest/contract";
import { actorOf } from "./actor-of.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, nameParameter } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["forges"];
const fleetParams = Type.Object({ fleet: nameParameter });
const itemsOf = <T extends Type.TSchema>(row: T) => Type.Object({ items: Type.Array(row) });

/** Where pull requests are, what was said of them, and who is told how rollouts end. */
export function addForgeRoutes(app: ApiApp, { store, testForge }: ApiOptions): void {
  app.put(
    `${apiPrefix}/fleets/:fleet/forge`,
    {
      schema: {
        operationId: "setForge",
        summary: "Say where the pull requests of the fleet's repository are; counts for all fleets of that repository",
        tags,
        params: fleetParams,
        body: ForgeSet,
        response: answers({ 200: ForgeRow }),
      },
    },
    (request) => {
      const { forks = false, ...wanted } = request.body;
      return store.setForge(actorOf(request), request.params.fleet, { ...wanted, forks });
    },
  );
  app.delete(
    `${apiPrefix}/fleets/:fleet/forge`,
    {
      schema: {
        operationId: "removeForge",
        summary: "Forget the forge, its token, and what waits to be said there",
        tags,
        params: fleetParams,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await store.removeForge(actorOf(request), request.params.fleet);
      return reply.code(204).send();
    },
  );
  app.post(
    `${apiPrefix}/fleets/:fleet/forge/test`,
    { schema: { operationId: "testForge", summary: "Ask the forge what the token may do", tags, params: fleetParams, response: answers({ 200: ForgeTest }) } },
    async (request) => {
      const { message, hint } = await testForge(request.params.fleet);
      if (hint !== undefined) throw new ApiProblem(409, "forge-refused", message, hint === "" ? {} : { hint });
      return { message };
    },
  );
  app.get(
    `${apiPrefix}/forges`,
    { schema: { operationId: "listForges", summary: "Forges, and what they refused last", tags, response: answers({ 200: itemsOf(ForgeRow) }) } },
    async () => ({
      items: await store.readForges(),
    }),
  );
  app.get(
    `${apiPrefix}/fleets/:fleet/pull-requests`,
    {
      schema: {
        operationId: "listPullRequests",
        summary: "The newest pull requests that were heard of, and what their previews came to",
        tags,
        params: fleetParams,
        response: answers({ 200: itemsOf(PullRequestRow) }),
      },
    },
    async (request) => ({ items: await store.readPullRequests(request.params.fleet) }),
  );
  app.post(
    `${apiPrefix}/fleets/:fleet/pull-requests/:number/check`,
    {
      schema: {
        operationId: "checkPullRequest",
        summary: "Preview a pull request and tell it, also where no webhook comes",
        tags,
        params: Type.Object({ fleet: nameParameter, number: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }) }),
        response: answers({ 202: Type.Object({}) }),
      },
    },
    async (request, reply) => {
      await store.askForCheck(actorOf(request), request.params.fleet, request.params.number);
      return reply.code(202).send({});
    },
  );

  app.put(
    `${apiPrefix}/notify-hooks`,
    {
      schema: {
        operationId: "setNotifyHook",
        summary: "Tell a receiver how rollouts of a fleet, or of all, end; takes the place of the one before",
        tags,
        body: NotifyHookSet,
        response: answers({ 200: NotifyHookRow }),
      },
    },
    (request) => store.setNotifyHook(actorOf(request), { fleet: request.body.fleet, url: request.body.url, secret: request.body.secret }),
  );
  app.get(
    `${apiPrefix}/notify-hooks`,
    { schema: { operationId: "listNotifyHooks", summary: "Who is told how rollouts end", tags, response: answers({ 200: itemsOf(NotifyHookRow) }) } },
    async () => ({ items: await store.readNotifyHooks() }),
  );
  app.delete(
    `${apiPrefix}/notify-hooks`,
    {
      schema: {
        operationId: "removeNotifyHook",
        summary: "Tell nobody any more, of a fleet or (without a name) of all",
        tags,
        querystring: Type.Object({ fleet: Type.Optional(nameParameter) }, { additionalProperties: false }),
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await store.removeNotifyHook(actorOf(request), request.query.fleet);
      return reply.code(204).send();
    },
  );
}
