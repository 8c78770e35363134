import { maxMessageChars } from "@flotilla/proto/limits";
import { isSecretLike } from "../domain/object-id.ts";
import { grantFor } from "../domain/rbac-refusal.ts";
import type { RetryClass } from "../domain/retry-delay.ts";

/**
 * The one error of this edge.
 *
 * - `unreachable`: no answer at all: connection refused, lost or too slow.
 * - `status`: the API server answered with an error; status, reason and details are its own.
 * - `no-match`: the API server does not serve the kind (yet).
 * - `unusable`: the answer, or what was to be sent, is not what the protocol says.
 */
export type KubeErrorCode = "unreachable" | "status" | "no-match" | "unusable";

/** One row of a Status' details. */
export interface KubeCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export class KubeError extends Error {
  readonly code: KubeErrorCode;
  /** HTTP status; 0 unless code is "status". */
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly KubeCause[];
  /** What the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: KubeErrorCode,
    message: string,
    details: { status?: number; reason?: string; causes?: readonly KubeCause[]; retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause });
    this.name = "KubeError";
    this.code = code;
    this.status = details.status ?? 0;
    this.reason = details.reason ?? "";
    this.causes = details.causes ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Whether an error is the API server's answer with this HTTP status. */
export function isStatus(error: unknown, status: number): error is KubeError {
  return error instanceof KubeError && error.code === "status" && error.status === status;
}

/** The error that an answer of status 400 or more stands for. */
export function errorOfAnswer(status: number, body: Buffer, retryAfter: string | undefined): KubeError {
  let answer: { message?: unknown; reason?: unknown; details?: { causes?: unknown } } = {};
  try {
    answer = JSON.parse(body.toString("utf8")) as typeof answer;
  } catch {
    // Not a Status: a proxy in between, or plain text. Its beginning is the message.
  }
  const message = typeof answer.message === "string" ? answer.message : `HTTP ${status}: ${body.toString("utf8", 0, 200)}`;
  const causes = Array.isArray(answer.details?.causes) ? (answer.details.causes as KubeCause[]) : [];
  const seconds = Number(retryAfter);
  const retryAfterMs = retryAfter !== undefined && Number.isFinite(seconds) ? Math.min(seconds, 60) * 1000 : undefined;
  return new KubeError("status", message, { status, reason: typeof answer.reason === "string" ? answer.reason : "", causes, retryAfterMs });
}

/** How the apply of one object that failed so is tried again. */
export function retryClassOf(error: unknown): RetryClass {
  if (!(error instanceof KubeError)) return "patient";
  if (error.code === "no-match" || error.code === "unreachable") return "soon";
  if (error.reason === "Contested") return "patient";
  // A namespace that is going away makes room for the next one.
  if (/because it is being terminated/.test(error.message)) return "soon";
  const webhookNotReady = /failed calling webhook|no endpoints available|connection refused|x509|context deadline exceeded/.test(error.message);
  if (error.status >= 500 || error.status === 429) return "soon";
  // A namespace that another bundle or person is about to create, a definition that is being established.
  return webhookNotReady || error.status === 404 || error.status === 409 ? "soon" : "patient";
}

/**
 * An error as one line for reports. What an API server or a webhook says of a Secret-like object may quote its values, so
 * of those only reason and field names are told (G13).
 */
export function tellError(error: unknown, kind: string): string {
  const message = error instanceof Error ? error.message : String(error);
  const isAnswer = error instanceof KubeError && error.code === "status";
  const told = isAnswer && isSecretLike(kind) ? tellWithoutValues(error) : message;
  const grant = isStatus(error, 403) ? grantFor(error.message) : "";
  const line = `${told}${grant === "" ? "" : `; ${grant}`}`.replaceAll(/[\u0000-\u001f\u007f]+/g, " ");
  return line.length <= maxMessageChars ? line : `${line.slice(0, maxMessageChars - 1)}…`;
}

/** How the API server itself says that RBAC does not allow something: made of names only, no part of the object is in it. */
const rbacRefusal =
  /^[a-z.]+ "[^"]*" is forbidden: User "[^"]*" cannot [a-z]+ resource "[a-z./]+" in API group "[a-z0-9.-]*"(?: in the namespace "[a-z0-9-]+"| at the cluster scope)$/;

function tellWithoutValues(error: KubeError): string {
  if (error.status === 403 && rbacRefusal.test(error.message)) return error.message;
  const fields = error.causes.map((cause) => cause.field).filter((field) => field !== undefined && field !== "");
  const webhook = /admission webhook "([^"]+)"/.exec(error.message)?.[1];
  const by = webhook ? ` by admission webhook ${webhook}` : "";
  return `refused${by}: ${error.reason || `HTTP ${error.status}`}${fields.length > 0 ? ` at ${fields.join(", ")}` : ""} (details withheld: a Secret's values may be in them)`;
}
