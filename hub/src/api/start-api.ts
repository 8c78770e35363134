import type { AddressInfo } from "node:net";
import type { Server as SecureServer } from "node:tls";
import swagger from "@fastify/swagger";
import { apiPrefix } from "@flotilla/proto/rest/contract";
import fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { apiBodyBytesMax, apiConnectionsMax, apiRequestMs } from "../limits.ts";
import { ApiProblem, asApiProblem, problemDetails } from "./api-problem.ts";
import { addApprovalRoutes } from "./approval-routes.ts";
import { addAuditRoutes } from "./audit-routes.ts";
import { addAuthorityRoutes } from "./authority-routes.ts";
import { requireToken } from "./authorise.ts";
import { addClusterRoutes } from "./cluster-routes.ts";
import { addSuspensionRoutes } from "./suspension-routes.ts";
import { addFleetRoutes } from "./fleet-routes.ts";
import { addOperationsRoutes } from "./operations-routes.ts";
import type { ApiLog, ApiOptions } from "./ports.ts";
import { addForgeRoutes } from "./forge-routes.ts";
import { addTokenRoutes } from "./token-routes.ts";
import { addPreviewRoutes } from "./preview-routes.ts";
import { addRolloutRoutes } from "./rollout-routes.ts";
import { addStateRoutes } from "./state-routes.ts";
import type { ApiApp } from "./typed-app.ts";
import { compileValidator } from "./validate-request.ts";
import { addWatchRoute } from "./watch-route.ts";
import { Watchers } from "./watchers.ts";
import { addWebhookRoute } from "./webhook-route.ts";

export interface RunningApi {
  /** https://127.0.0.1:7420 */
  readonly url: string;
  readonly address: { readonly host: string; readonly port: number };
  /** Open watches. */
  readonly watchers: number;
  /** Takes another certificate for connections from now on; nothing on plain HTTP. */
  renewCertificate(tls: { readonly cert: string; readonly key: string }): void;
  close(): Promise<void>;
}

/** The address or the TLS files do not do; the message says what does. */
export class ListenRefusedError extends Error {
  override readonly name = "ListenRefusedError";
}

/**
 * Serves REST, watches, webhooks, health and metrics.
 *
 * @throws ListenRefusedError for plain HTTP on an address that others can reach, or an address that is taken.
 */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { host, port, tls } = options;
  if (tls === undefined && !isLoopback(host)) {
    throw new ListenRefusedError(
      `the API would be served in clear text on ${host}, which others can reach; give --tls-cert and --tls-key, or listen on 127.0.0.1`,
    );
  }
  const watchers = new Watchers(options.store, options.log);
  const app = await buildApi(options, watchers);
  const listener = options.listenChanges((change) => watchers.tell(change));
  try {
    await app.listen({ host, port });
  } catch (error) {
    watchers.close();
    await listener.close();
    await app.close();
    throw new ListenRefusedError(`the API cannot listen on ${host}:${port}: ${(error as Error).message}`, { cause: error });
  }
  const bound = app.server.address() as AddressInfo;
  const shown = host.includes(":") ? `[${host}]` : host;
  return {
    url: `${tls === undefined ? "http" : "https"}://${shown}:${bound.port}`,
    address: { host, port: bound.port },
    get watchers() {
      return watchers.count;
    },
    renewCertificate({ cert, key }) {
      if (tls !== undefined) (app.server as unknown as SecureServer).setSecureContext({ cert, key, minVersion: "TLSv1.2" });
    },
    async close() {
      watchers.close();
      await listener.close();
      await app.close();
    },
  };
}

/** The application without its listener: what the OpenAPI document is made from. */
export async function buildApi(options: ApiOptions, watchers: Watchers): Promise<ApiApp> {
  const app = fastify({
    ...(options.tls !== undefined && { https: { cert: options.tls.cert, key: options.tls.key, minVersion: "TLSv1.2" } }),
    bodyLimit: apiBodyBytesMax,
    requestTimeout: apiRequestMs,
    routerOptions: { maxParamLength: 253 },
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    // What fastify refuses before it knows the route: it would answer in a form of its own.
    frameworkErrors(error: Error, request: FastifyRequest, reply: FastifyReply) {
      const problem = asApiProblem(error) ?? faultOf(error, request.method, undefined, options.log);
      void reply
        .code(problem.status)
        .type("application/problem+json")
        .send(JSON.stringify(problemDetails(problem)));
    },
  } as object) as unknown as ApiApp;
  app.server.maxConnections = apiConnectionsMax;
  app.setValidatorCompiler(compileValidator as never);
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error, request, reply) => {
    const problem = asApiProblem(error) ?? faultOf(error, request.method, request.routeOptions.url, options.log);
    if (problem.status === 503 && !reply.hasHeader("retry-after")) void reply.header("retry-after", "2");
    return reply.code(problem.status).type("application/problem+json").send(problemDetails(problem));
  });
  app.setNotFoundHandler((request) => {
    throw new ApiProblem(404, "no-such-path", `there is no ${request.method} ${(request.url.split("?", 1)[0] ?? "").slice(0, 200)}`, {
      hint: "GET /openapi.json lists the paths",
    });
  });
  await app.register(swagger, {
    openapi: { openapi: "3.1.0", info, components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } }, security: [{ bearer: [] }] },
  } as object);
  requireToken(app, options.store);
  addOperationsRoutes(app, options);
  addFleetRoutes(app, options);
  addClusterRoutes(app, options);
  addStateRoutes(app, options);
  addApprovalRoutes(app, options);
  addAuditRoutes(app, options);
  addSuspensionRoutes(app, options);
  addRolloutRoutes(app, options);
  addPreviewRoutes(app, options);
  addForgeRoutes(app, options);
  addTokenRoutes(app, options);
  addAuthorityRoutes(app, options);
  addWatchRoute(app, options, watchers);
  await addWebhookRoute(app, options);
  await app.ready();
  return app;
}

const info = {
  title: "Flotilla",
  version: "v1",
  description: `Fleets of Kubernetes clusters that follow Git. Every fact carries \`asOf\`; a cluster whose lease ran out is \`Unknown\` in every answer. Within ${apiPrefix} fields and paths are only added.`,
};

/** A fault of ours: told in the log, not to the caller. */
function faultOf(error: unknown, method: string, path: string | undefined, log: ApiLog): ApiProblem {
  log.warn(
    { error: error instanceof Error ? error.message : String(error), stack: error instanceof Error ? error.stack : undefined, method, path },
    "a request failed",
  );
  return new ApiProblem(500, "internal", "the hub failed to answer", { hint: "its log says why" });
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
