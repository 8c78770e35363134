import Type from "typebox";
import { apiPrefix, AuditRow, AuditVerdict } from "@flotilla/proto/rest/contract";
import type { ApiOptions } from "./ports.ts";
import { answers, boundsOf, listQuery, noQuery, pageOf } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["audit"];

/** The audit log, and whether it is whole. */
export function addAuditRoutes(app: ApiApp, { store }: ApiOptions): void {
  const word = Type.String({ minLength: 1, maxLength: 64 });
  const query = listQuery(["fleet", "cluster"], {
    actor: Type.Optional(Type.Unsafe<string>({ ...word, description: "Id of a token" })),
    act: Type.Optional(Type.Unsafe<string>({ ...word, description: "fleet.delete, cluster.label, …" })),
    order: Type.Optional(Type.Union([Type.Literal("asc"), Type.Literal("desc")], { description: "By number; default desc" })),
  });
  app.get(
    `${apiPrefix}/audit`,
    { schema: { operationId: "listAudit", summary: "Every act of a person or token", tags, querystring: query, response: answers({ 200: pageOf(AuditRow) }) } },
    (request) => store.readAuditLog(boundsOf(request.query)),
  );
  app.get(
    `${apiPrefix}/audit/verify`,
    {
      schema: {
        operationId: "verifyAudit",
        summary: "Follows the chain of hashes over all acts",
        tags,
        querystring: noQuery,
        response: answers({ 200: AuditVerdict }),
      },
    },
    () => store.verifyAuditLog(),
  );
}
