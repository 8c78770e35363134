import type { FieldConflict } from "./field-ownership.ts";

/** The API server's answer when it says no. */
export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

interface Details {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly causes?: readonly (StatusCause | FieldConflict)[];
  readonly retryAfterSeconds?: number;
}

/** Thrown inside the simulated server; its text is the body of the answer. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: number;
  readonly reason: string;
  readonly details: Details | undefined;

  constructor(code: number, reason: string, message: string, details?: Details) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  get body(): object {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason !== "" && { reason: this.reason }),
      ...(this.details && { details: this.details }),
      code: this.code,
    };
  }
}

interface Named {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

const resource = ({ group, plural }: Named) => (group === "" ? plural : `${plural}.${group}`);
const about = ({ group, plural }: Named, name: string) => ({ ...(name !== "" && { name }), ...(group !== "" && { group }), kind: plural });

export const notFound = (kind: Named, name: string) => new StatusError(404, "NotFound", `${resource(kind)} "${name}" not found`, about(kind, name));
export const alreadyExists = (kind: Named, name: string) =>
  new StatusError(409, "AlreadyExists", `${resource(kind)} "${name}" already exists`, about(kind, name));
export const badRequest = (message: string) => new StatusError(400, "BadRequest", message);

export function conflict(kind: Named, name: string, message: string): StatusError {
  return new StatusError(409, "Conflict", `Operation cannot be fulfilled on ${resource(kind)} "${name}": ${message}`, about(kind, name));
}

/** A delete names the kind where a write names the resource. */
export function preconditionFailed(kind: Named, name: string, message: string): StatusError {
  const qualified = kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
  const details = { name, ...(kind.group !== "" && { group: kind.group }), kind: kind.kind };
  return new StatusError(409, "Conflict", `Operation cannot be fulfilled on ${qualified} "${name}": ${message}`, details);
}

export function forbidden(kind: Named, name: string, message: string, causes?: readonly StatusCause[]): StatusError {
  return new StatusError(403, "Forbidden", `${resource(kind)} "${name}" is forbidden: ${message}`, { ...about(kind, name), ...(causes && { causes }) });
}

export function invalid(kind: Named, name: string, causes: readonly StatusCause[]): StatusError {
  const qualified = kind.group === "" ? kind.kind : `${kind.kind}.${kind.group}`;
  const told = [...new Set(causes.map(({ field, message }) => `${field}: ${message}`))];
  const list = told.length === 1 ? told[0] : `[${told.join(", ")}]`;
  const details = { name, ...(kind.group !== "" && { group: kind.group }), kind: kind.kind, causes };
  return new StatusError(422, "Invalid", `${qualified} "${name}" is invalid: ${list}`, details);
}

export const noSuchPath = () => new StatusError(404, "NotFound", "the server could not find the requested resource", {});
