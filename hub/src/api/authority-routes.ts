import Type from "typebox";
import { apiPrefix, AuthorityAct, AuthorityRetired, AuthorityRow } from "@flotilla/proto/rest/contract";
import type { Actor } from "../domain/actor.ts";
import { actorOf } from "./actor-of.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, noQuery } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["authorities"];
const config = { access: "admin" } as const;
const params = Type.Object({ authority: Type.String({ pattern: "^[0-9a-f]{4,64}$", description: "SHA-256 (hex) of its public key, or the beginning of it" }) });

/** The hub's CAs, and the change from one to the next. Only administrators act. */
export function addAuthorityRoutes(app: ApiApp, { store }: ApiOptions): void {
  app.get(
    `${apiPrefix}/authorities`,
    {
      schema: {
        operationId: "listAuthorities",
        summary: "The hub's CAs, newest first, and what still hangs on them",
        tags,
        querystring: noQuery,
        response: answers({ 200: Type.Object({ items: Type.Array(AuthorityRow) }) }),
      },
    },
    async () => ({ items: await store.readAuthorities() }),
  );
  app.post(
    `${apiPrefix}/authorities`,
    {
      config,
      schema: {
        operationId: "stageAuthority",
        summary: "Make a CA that hub and agents trust from now on, and that signs nothing yet",
        tags,
        response: answers({ 201: AuthorityRow }),
      },
    },
    async (request, reply) => reply.code(201).send(await authorityOf(await store.stageAuthority(actorOf(request)))),
  );
  app.post(
    `${apiPrefix}/authorities/:authority/activate`,
    {
      config,
      schema: {
        operationId: "activateAuthority",
        summary: "Have it sign from now on; the one before stays trusted",
        tags,
        params,
        body: AuthorityAct,
        response: answers({ 200: AuthorityRow }),
      },
    },
    async (request) => {
      const { force = false, reason } = request.body;
      return authorityOf(await store.activateAuthority(actorFor(actorOf(request, reason), force), { hash: request.params.authority, force }));
    },
  );
  app.post(
    `${apiPrefix}/authorities/:authority/retire`,
    {
      config,
      schema: {
        operationId: "retireAuthority",
        summary: "End the trust in it and destroy its key; refused while agents hang on it",
        tags,
        params,
        body: AuthorityAct,
        response: answers({ 200: AuthorityRetired }),
      },
    },
    async (request) => {
      const { force = false, reason } = request.body;
      const { hash, lockedOut } = await store.retireAuthority(actorFor(actorOf(request, reason), force), { hash: request.params.authority, force });
      return { ...(await authorityOf(hash)), lockedOut: [...lockedOut] };
    },
  );

  const authorityOf = async (hash: string): Promise<AuthorityRow> => {
    const row = (await store.readAuthorities()).find((authority) => authority.hash === hash);
    if (row === undefined) throw new Error(`CA ${hash} was written and is not there`);
    return row;
  };
}

/** @throws ApiProblem 400 when somebody forces an act and does not say why. */
function actorFor(actor: Actor, isForced: boolean): Actor {
  if (isForced && actor.reason.trim() === "")
    throw new ApiProblem(400, "invalid-request", "an act that is forced takes a reason", { hint: "why agents may be locked out: --force --reason TEXT" });
  return actor;
}
