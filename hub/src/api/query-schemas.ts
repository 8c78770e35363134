import Type from "typebox";
import { HealthWord, ProblemDetails, SyncWord } from "@flotilla/proto/rest/contract";
import { pageRowsDefault, pageRowsMax } from "../limits.ts";

/** What every list takes. */
const bounds = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageRowsMax, default: pageRowsDefault, description: "Rows on a page" })),
  cursor: Type.Optional(Type.String({ maxLength: 4_096, description: "`next` of the page before" })),
};

const name = Type.String({ minLength: 1, maxLength: 253 });

const filters = {
  fleet: Type.Optional(name),
  cluster: Type.Optional(name),
  bundle: Type.Optional(name),
  manager: Type.Optional(name),
  name: Type.Optional(name),
  namespace: Type.Optional(Type.String({ maxLength: 253 })),
  kind: Type.Optional(name),
  reason: Type.Optional(name),
  sync: Type.Optional(SyncWord),
  health: Type.Optional(HealthWord),
};

/** The query of a list with some of the filters. */
export function listQuery<const Names extends readonly (keyof typeof filters)[], const More extends Record<string, Type.TSchema> = {}>(
  names: Names,
  more?: More,
) {
  const chosen = Object.fromEntries(names.map((filter) => [filter, filters[filter]])) as Pick<typeof filters, Names[number]>;
  return Type.Object({ ...bounds, ...chosen, ...(more as More) }, { additionalProperties: false });
}

export function pageOf<Row extends Type.TSchema>(row: Row) {
  return Type.Object({
    items: Type.Array(row),
    next: Type.Union([Type.String(), Type.Null()], { description: "Goes into ?cursor=; null on the last page" }),
    total: Type.Integer({ description: "Rows that match the filters, on all pages; counted up to 100,000, events up to 10,000" }),
  });
}

export const nameParameter = name;
export const noQuery = Type.Object({}, { additionalProperties: false });

/** Responses of a route, with the problems that any can answer. */
export function answers<Answers extends Record<number, Type.TSchema>>(schemas: Answers) {
  const problem = (description: string) => ({ description, content: { "application/problem+json": { schema: ProblemDetails } } });
  return { ...schemas, "4xx": problem("What was asked cannot be done; `detail` says why, `hint` how to mend it"), "5xx": problem("The hub cannot answer now") };
}

/** The bounds of a page, with the default filled in. */
export function boundsOf<Query extends { limit?: number }>(query: Query): Omit<Query, "limit"> & { limit: number } {
  return { ...query, limit: query.limit ?? pageRowsDefault };
}
