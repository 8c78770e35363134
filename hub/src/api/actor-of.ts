import type { FastifyRequest } from "fastify";
import type { Actor } from "../domain/actor.ts";
import { auditReasonCharsMax } from "../limits.ts";
import { ApiProblem } from "./api-problem.ts";

/** Header that gives a reason for any act, percent-encoded UTF-8; a `reason` in the body wins. */
const reasonHeader = "flotilla-reason";

/** Who asks, from where, and why. Only for routes that need a token. */
export function actorOf(request: FastifyRequest, reason?: string): Actor {
  if (request.tokenId === undefined) throw new Error(`${request.method} ${request.url} acts without a token`);
  return { id: request.tokenId, source: request.ip, reason: reason ?? reasonOf(request.headers[reasonHeader]) };
}

/** @throws ApiProblem 400. */
function reasonOf(header: string | readonly string[] | undefined): string {
  if (header === undefined) return "";
  try {
    const reason = decodeURIComponent(String(header));
    if (reason.length <= auditReasonCharsMax) return reason;
  } catch {
    // Told below.
  }
  throw new ApiProblem(400, "invalid-request", `the header ${reasonHeader} is not a text of at most ${auditReasonCharsMax} characters, percent-encoded`);
}
