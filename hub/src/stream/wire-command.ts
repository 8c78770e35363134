import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type Command,
  type CommandAck,
  CommandSchema,
  DryRunAction,
  type DryRunCommandSchema,
  type DryRunResult,
  type EndGateCommandSchema,
  type GateCommandSchema,
  GateVerdict,
} from "@flotilla/proto/gen/link";
import { maxDryRunObjects } from "@flotilla/proto/limits";
import type { EndedGate, GateQuestion } from "../domain/gates.ts";
import type { CommandAnswer, PendingCommand } from "../domain/link-rows.ts";
import type { DryRunAnswer, PreviewAction, PreviewObject } from "../domain/preview.ts";
import { durationOf, wireTarget } from "./wire-target.ts";

const verdicts: Partial<Record<GateVerdict, NonNullable<NonNullable<CommandAnswer["gate"]>["verdict"]>>> = {
  [GateVerdict.PASSED]: "passed",
  [GateVerdict.FAILED]: "failed",
};

/** What an agent says to a command, cut to what is kept of it; a verdict or action of a later version is one that this hub does not know. */
export function answerOf({ error, gate, dryRun }: Pick<CommandAck, "error" | "gate" | "dryRun">): CommandAnswer {
  return {
    error: error.slice(0, 1_000),
    ...(gate && { gate: { verdict: verdicts[gate.verdict] ?? "unknown", message: gate.message.slice(0, 500) } }),
    ...(dryRun && { dryRun: dryRunOf(dryRun) }),
  };
}

const actions: Partial<Record<DryRunAction, PreviewAction>> = {
  [DryRunAction.CREATE]: "create",
  [DryRunAction.CONFIGURE]: "configure",
  [DryRunAction.RECREATE]: "recreate",
  [DryRunAction.PRUNE]: "prune",
  [DryRunAction.HOLD_PRUNE]: "hold-prune",
  [DryRunAction.LET_GO]: "let-go",
  [DryRunAction.REFUSE]: "refuse",
  [DryRunAction.CONFLICT]: "conflict",
  [DryRunAction.KEEP]: "keep",
  [DryRunAction.RUN_HOOK]: "run-hook",
};

function dryRunOf({ objects, leftOut, unchanged, effect }: DryRunResult): DryRunAnswer {
  const rows = objects.slice(0, maxDryRunObjects).map(({ object, bundle, action, message, fields, moreFields }): PreviewObject => ({
    object,
    bundle,
    action: actions[action] ?? "refuse",
    message,
    fields: fields.map(({ path, before, after }) => ({ path, before, after })),
    moreFields,
  }));
  return { objects: rows, leftOut: leftOut + objects.length - rows.length, unchanged, effect };
}

function wireDryRun(cluster: string, fleet: string, question: NonNullable<PendingCommand["dryRun"]>): MessageInitShape<typeof DryRunCommandSchema> {
  const { revision, digest, bundles, baseDigest, bodies, contents, hashKey } = question;
  const target = { fleet, cluster, generation: 0n, revision, digest, bundles, tombstone: null, releasedAt: new Date(), pruneApproval: null, traceparent: null };
  return {
    fleet,
    baseDigest,
    target: wireTarget(target, ""),
    bodies: bodies.flatMap((name) => (contents.has(name) ? [{ digest: name, content: contents.get(name) ?? new Uint8Array() }] : [])),
    hashKey: Buffer.from(hashKey, "hex"),
  };
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

function wireEnd({ command: commandId, gate, namespace }: EndedGate): MessageInitShape<typeof EndGateCommandSchema> {
  return { commandId, gate, namespace };
}

/** A command as agents read it (fleet/v1/link.proto). */
export function wireCommand({
  id,
  kind,
  fleet,
  expiresAt,
  bundle = "",
  objects = [],
  force = false,
  question,
  ended,
  dryRun,
  cluster,
}: PendingCommand): Command {
  const value = { id, expiresAt: timestampFromDate(expiresAt) };
  if (kind === "sync") return create(CommandSchema, { ...value, kind: { case: "sync", value: { fleet, bundle, objects: [...objects], force } } });
  if (kind === "gate") return create(CommandSchema, { ...value, ...(question && { kind: { case: "gate", value: wireQuestion(fleet, question) } }) });
  if (kind === "end-gate") return create(CommandSchema, { ...value, ...(ended && { kind: { case: "endGate", value: wireEnd(ended) } }) });
  if (kind === "dry-run") return create(CommandSchema, { ...value, ...(dryRun && { kind: { case: "dryRun", value: wireDryRun(cluster, fleet, dryRun) } }) });
  return create(CommandSchema, { ...value, kind: { case: kind, value: {} } });
}
