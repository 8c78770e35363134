import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type Command, CommandSchema, type GateAnswer, type GateCommandSchema, GateVerdict } from "@flotilla/proto/gen/link";
import type { GateQuestion } from "../domain/gates.ts";
import type { CommandAnswer, PendingCommand } from "../domain/link-rows.ts";
import { durationOf } from "./wire-target.ts";

const verdicts: Partial<Record<GateVerdict, NonNullable<NonNullable<CommandAnswer["gate"]>["verdict"]>>> = {
  [GateVerdict.PASSED]: "passed",
  [GateVerdict.FAILED]: "failed",
};

/** What an agent says to a gate; a verdict of a later version is one that this hub does not know. */
export function gateAnswerOf({ verdict, message }: GateAnswer): NonNullable<CommandAnswer["gate"]> {
  return { verdict: verdicts[verdict] ?? "unknown", message: message.slice(0, 500) };
}

function wireQuestion(fleet: string, question: GateQuestion): MessageInitShape<typeof GateCommandSchema> {
  const { revision, wave } = question;
  if (question.kind === "job") {
    const { name: gate, namespace, spec, timeoutMs } = question.job;
    const value = { namespace, spec: Buffer.from(JSON.stringify(spec)), timeout: durationOf(timeoutMs) };
    return { fleet, revision, wave, gate, question: { case: "job", value } };
  }
  const { name: gate, address, query, threshold, windowMs } = question.metric;
  const value = { address, query, operator: threshold.operator, threshold: threshold.value, window: durationOf(windowMs) };
  return { fleet, revision, wave, gate, question: { case: "metric", value } };
}

/** A command as agents read it (fleet/v1/link.proto). */
export function wireCommand({ id, kind, fleet, expiresAt, bundle = "", objects = [], force = false, question }: PendingCommand): Command {
  const value = { id, expiresAt: timestampFromDate(expiresAt) };
  if (kind === "sync") return create(CommandSchema, { ...value, kind: { case: "sync", value: { fleet, bundle, objects: [...objects], force } } });
  if (kind === "gate") return create(CommandSchema, { ...value, ...(question && { kind: { case: "gate", value: wireQuestion(fleet, question) } }) });
  return create(CommandSchema, { ...value, kind: { case: kind, value: {} } });
}
