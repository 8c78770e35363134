import { STATUS_CODES } from "node:http";
import type { ProblemDetails, ProblemRow } from "@flotilla/proto/rest/contract";

/** The one error of this edge: becomes problem+json (RFC 9457). */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly status: number;
  /** Stable, kebab-case: the last part of the problem's type. */
  readonly code: string;
  readonly hint: string | undefined;
  readonly problems: readonly ProblemRow[];

  constructor(status: number, code: string, detail: string, more: { hint?: string | undefined; problems?: readonly ProblemRow[] } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.hint = more.hint;
    this.problems = more.problems ?? [];
  }
}

export function notFound(what: string, name: string, hint?: string): ApiProblem {
  return new ApiProblem(404, "not-found", `there is no ${what} '${name}'`, { hint });
}

const storeStatus: Readonly<Record<string, number>> = {
  "not-found": 404,
  conflict: 409,
  ambiguous: 409,
  "bad-cursor": 400,
  unreachable: 503,
  "disk-full": 503,
};

/** Framework errors that are the caller's, by fastify's code. */
const requestCodes: Readonly<Record<string, readonly [number, string, string, string?]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [413, "too-large", "the request's body is too large"],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, "media-type", "the body's type is not one that this path takes", "send application/json"],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, "empty-body", "the body is empty", "send a JSON object"],
  FST_ERR_CTP_INVALID_JSON_BODY: [400, "invalid-json", "the body is not JSON"],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, "invalid-length", "the body's length is not what the header says"],
  FST_ERR_MAX_PARAM_LENGTH: [414, "too-long", "a part of the path is too long"],
  FST_ERR_BAD_URL: [400, "bad-url", "the path cannot be decoded"],
};

/** Any error as a problem; undefined for one that is a fault of ours, of which the caller learns nothing more. */
export function asApiProblem(error: unknown): ApiProblem | undefined {
  if (error instanceof ApiProblem) return error;
  const { name, code, message, hint, statusCode } = error as { name?: string; code?: string; message?: string; hint?: string; statusCode?: number };
  // The edges never import one another: the store's error is known by its name.
  if (name === "StoreError" && code !== undefined && storeStatus[code] !== undefined) return new ApiProblem(storeStatus[code], code, message ?? "", { hint });
  const known = code === undefined ? undefined : requestCodes[code];
  if (known !== undefined) return new ApiProblem(known[0], known[1], known[2], { hint: known[3] });
  if (error instanceof SyntaxError && statusCode === 400) return new ApiProblem(400, "invalid-json", "the body is not JSON");
  return undefined;
}

export function problemDetails(problem: ApiProblem): ProblemDetails {
  return {
    type: `urn:flotilla:problem:${problem.code}`,
    title: STATUS_CODES[problem.status] ?? "Error",
    status: problem.status,
    detail: problem.message,
    ...(problem.hint !== undefined && { hint: problem.hint }),
    ...(problem.problems.length > 0 && { problems: [...problem.problems] }),
  };
}
