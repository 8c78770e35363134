import type { ProblemDetails, ProblemRow } from "@flotilla/proto/rest/contract";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { FleetError } from "../fleet-error.ts";
import { problemLine } from "../render/problem-lines.ts";

const exitByStatus: Readonly<Record<number, ExitCode>> = {
  401: exitCodes.notAllowed,
  403: exitCodes.notAllowed,
  408: exitCodes.timedOut,
  502: exitCodes.unreachable,
  503: exitCodes.unreachable,
  504: exitCodes.unreachable,
};

const hintByStatus: Readonly<Record<number, string>> = {
  401: "the token is not valid at this hub; log in again: fleet login URL",
  403: "this token may not do that; ask the hub's administrator",
  429: "the hub is busy; try again in a moment",
  502: "something in front of the hub answered; is the hub running?",
  503: "the hub is not ready; 'fleet doctor' says why",
};

/** The hub's refusal as an error: its words, its hint, its problems, and the exit status that fits. */
export function refusal(status: number, body: string): FleetError {
  const details = parseDetails(body);
  const message = details?.detail || details?.title || `the hub answered ${status}`;
  const problems: readonly ProblemRow[] = details?.problems ?? [];
  // A single problem without a place is the message itself: saying it again tells nothing.
  const isSaid = problems.length === 1 && problems[0]?.file === undefined && problems[0]?.message === message;
  return new FleetError(message, exitByStatus[status] ?? exitCodes.failed, {
    status,
    hint: details?.hint ?? hintByStatus[status],
    lines: isSaid ? [] : problems.map((problem) => problemLine(problem, "error")),
  });
}

function parseDetails(body: string): Partial<ProblemDetails> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
