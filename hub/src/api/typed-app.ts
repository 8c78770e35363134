import type { Static, TSchema } from "typebox";
import type { FastifyInstance, FastifyTypeProvider, RawServerBase } from "fastify";

/** Types of requests from their typebox schemas. Responses are typed by the handlers, which return the contract's rows. */
export interface TypeboxProvider extends FastifyTypeProvider {
  validator: this["schema"] extends TSchema ? Static<this["schema"]> : unknown;
  serializer: unknown;
}

// oxlint-disable-next-line typescript/no-explicit-any -- the server's kind (HTTP or HTTPS) changes nothing for routes
export type ApiApp = FastifyInstance<RawServerBase, any, any, any, TypeboxProvider>;
