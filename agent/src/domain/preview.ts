import { canonicalJson, digestOf } from "@flotilla/proto/digest";
import { maxDriftFieldsPerObject, maxDryRunAnswerBytes, maxDryRunObjects } from "@flotilla/proto/limits";
import { driftFields, type LiveLike } from "./drift.ts";
import { nothingIgnored } from "./ignore.ts";

/** One field that would change. Values are JSON text, "" for absent; of Secret-like kinds keyed hashes. */
export interface ForeseenField {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

export type ForeseenAction = "create" | "configure" | "recreate" | "prune" | "hold-prune" | "let-go" | "refuse" | "conflict" | "keep" | "run-hook";

/** What would become of one object. */
export interface Foreseen {
  readonly object: string;
  readonly bundle: string;
  readonly action: ForeseenAction;
  readonly message: string;
  readonly fields: readonly ForeseenField[];
  readonly moreFields: number;
}

/** What would become of a cluster's objects, cut to what an answer may hold. */
export interface Foresight {
  readonly objects: readonly Foreseen[];
  readonly leftOut: number;
  readonly unchanged: number;
  /** Stands for all of it: equal effects, equal digests. */
  readonly effect: string;
}

/**
 * The fields that differ between an object as it is and as a dry run gives it: those that we hold afterwards, and those that we held before
 * and give up.
 */
export function foreseenFields(live: LiveLike, applied: LiveLike, hashKey: Uint8Array): readonly ForeseenField[] {
  const fields = new Map<string, ForeseenField>();
  for (const { path, desired, live: before } of driftFields(applied, live, nothingIgnored, hashKey)) fields.set(path, { path, before, after: desired });
  for (const { path, desired: before, live: after } of driftFields(live, applied, nothingIgnored, hashKey))
    if (!fields.has(path)) fields.set(path, { path, before, after });
  return [...fields.values()];
}

/** Whether an apply would write anything: the API server leaves an object as it is when nothing changes, also not who holds what. */
export function wouldChange(live: LiveLike, after: LiveLike): boolean {
  return canonicalJson(bare(live)) !== canonicalJson(bare(after));
}

function bare({ metadata, ...rest }: LiveLike): object {
  const { managedFields, resourceVersion: _version, generation: _generation, ...others } = metadata ?? {};
  const holders = Array.isArray(managedFields) ? (managedFields as { time?: unknown }[]).map(({ time: _time, ...row }) => row) : [];
  return { ...rest, metadata: { ...others, managedFields: holders } };
}

/** Cuts what would become of a cluster to what one answer may hold; its digest is of the whole. */
export function boundForesight(all: readonly Foreseen[], unchanged: number): Foresight {
  const objects: Foreseen[] = [];
  let bytes = 0;
  for (const foreseen of all.slice(0, maxDryRunObjects)) {
    const fields = foreseen.fields.slice(0, maxDriftFieldsPerObject);
    const size = JSON.stringify(fields).length + foreseen.message.length + foreseen.object.length;
    const isOver = bytes + size > maxDryRunAnswerBytes / 2;
    if (!isOver) bytes += size;
    const shown = isOver ? [] : fields;
    objects.push({ ...foreseen, message: foreseen.message.slice(0, 1_000), fields: shown, moreFields: foreseen.fields.length - shown.length });
  }
  return { objects, leftOut: all.length - objects.length, unchanged, effect: digestOf(all) };
}
