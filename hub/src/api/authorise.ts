import { apiPrefix } from "@flotilla/proto/rest/contract";
import { type Access, allows } from "../domain/access.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiStore } from "./ports.ts";
import type { ApiApp } from "./typed-app.ts";

/** The token of an Authorization header, or undefined. */
export function tokenOf(header: string | undefined): string | undefined {
  return /^Bearer ([\w.~+/=-]{1,200})$/i.exec(header ?? "")?.[1];
}

/** Default deny: everything under the prefix needs a token, except webhooks, which are signed. */
export function requireToken(app: ApiApp, store: Pick<ApiStore, "checkToken" | "recordExpiredToken" | "recordDeniedToken">): void {
  app.addHook("onRequest", async (request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    if (request.routeOptions.config.isPublic === true) return;
    if (request.is404 && !path.startsWith(apiPrefix)) return;
    const asked = `${request.method} ${path}`.slice(0, 300);
    const token = tokenOf(request.headers.authorization);
    const holder = token === undefined ? undefined : await store.checkToken(token);
    if (holder !== undefined) {
      const needed = request.routeOptions.config.access ?? (/^(GET|HEAD)$/.test(request.method) ? "view" : "operate");
      if (!allows(holder.access, needed)) {
        const refusal = `this token may ${words[holder.access]}; ${request.method} ${path} takes one that may ${words[needed]}`;
        await store.recordDeniedToken(holder.id, { source: request.ip, request: asked, refusal: refusal.slice(0, 500) });
        throw new ApiProblem(403, "forbidden", refusal, { hint: "an administrator makes one: fleet token create --access" });
      }
      request.tokenId = holder.id;
      return;
    }
    if (token !== undefined && request.method !== "GET") await store.recordExpiredToken(token, request.ip, asked);
    void reply.header("www-authenticate", 'Bearer realm="flotilla"');
    const detail = token === undefined ? "the request has no bearer token" : "the token is not known, or has expired";
    throw new ApiProblem(401, "unauthorised", detail, { hint: "fleet login URL, or the file admin-token in the hub's data folder" });
  });
}

const words: Readonly<Record<Access, string>> = { view: "only look", operate: "act", admin: "make tokens and change the CA" };

declare module "fastify" {
  interface FastifyContextConfig {
    /** Answers without a token. */
    isPublic?: boolean;
    /** What a token must allow; default by the method: view for GET, else operate. */
    access?: Access;
  }
  interface FastifyRequest {
    /** Id of the token that the request came with; unset on public routes. */
    tokenId?: string;
  }
}
