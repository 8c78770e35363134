import Type from "typebox";
import { apiPrefix, TokenCreate, TokenCreated, TokenRow } from "@flotilla/proto/rest/contract";
import { actorOf } from "./actor-of.ts";
import type { ApiOptions } from "./ports.ts";
import { answers } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["tokens"];
const config = { access: "admin" } as const;

/** Tokens of people and programs. Only for administrators. */
export function addTokenRoutes(app: ApiApp, { store }: ApiOptions): void {
  app.get(
    `${apiPrefix}/tokens`,
    {
      config,
      schema: {
        operationId: "listApiTokens",
        summary: "Tokens, without what is secret",
        tags,
        response: answers({ 200: Type.Object({ items: Type.Array(TokenRow) }) }),
      },
    },
    async () => ({ items: await store.readTokens() }),
  );
  app.post(
    `${apiPrefix}/tokens`,
    {
      config,
      schema: { operationId: "createApiToken", summary: "Make a token; it is told once", tags, body: TokenCreate, response: answers({ 201: TokenCreated }) },
    },
    async (request, reply) => {
      const { description, access, roles = [], lifetimeMs } = request.body;
      const expiresAt = lifetimeMs === undefined ? null : new Date(Date.now() + lifetimeMs);
      const token = await store.createToken(actorOf(request), { description, access, roles, expiresAt });
      return reply.code(201).send({ token });
    },
  );
  app.delete(
    `${apiPrefix}/tokens/:token`,
    {
      config,
      schema: {
        operationId: "revokeApiToken",
        summary: "End a token now",
        tags,
        params: Type.Object({ token: Type.String({ pattern: "^[0-9a-f]{12}$", description: "Its id" }) }),
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await store.revokeToken(actorOf(request), request.params.token);
      return reply.code(204).send();
    },
  );
}
