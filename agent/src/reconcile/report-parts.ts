import { hash } from "node:crypto";
import { create, toBinary, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import {
  BundleStateSchema,
  ClusterEventSchema,
  FleetReportSchema,
  ObjectIdSchema,
  type ClusterEvent,
  type FleetReport,
  type ObjectState,
  type PhaseTime,
} from "@flotilla/proto/gen/report";
import { maxEventsPerReport, maxObjectsPerReport } from "@flotilla/proto/limits";
import type { ObjectId } from "../domain/object-id.ts";
import { engineLimits } from "../limits.ts";
import type { FleetRun } from "./fleet-run.ts";
import type { Totals } from "./object-state.ts";

/** The parts of a report that speak of the fleet as a whole. */
export interface ReportHead {
  readonly first: FleetReport;
  readonly firstBytes: number;
  /** What follows where one message does not hold it all; undefined when each must say all. */
  readonly others: FleetReport | undefined;
  readonly othersBytes: number;
  /** Whether it says anything that was not told. */
  readonly isNews: boolean;
  readonly told: ToldHead;
}

export interface ToldHead {
  readonly target: string;
  /** Hash of all but the bundles. */
  readonly rest: string;
  /** By name, all of it as text. */
  readonly bundles: ReadonlyMap<string, string>;
}

/** A message with its encoding, which gives its size and its hash. */
export interface Packed<T> {
  readonly message: T;
  readonly bytes: Uint8Array;
}

export function packed<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Packed<MessageShape<Desc>> {
  return { message, bytes: toBinary(schema, message) };
}

export function shortHash(bytes: Uint8Array): string {
  return hash("sha256", bytes, "base64url").slice(0, 22);
}

/**
 * What a report says of the fleet as a whole: which target, its summary, and its bundles. Of these `changedBundlesOnly` leaves out those that are as they were
 * told `before`, where target and set of bundles are the same.
 */
export function headOf({ name, target }: FleetRun, { summary, bundles }: Totals, before: ToldHead | undefined, changedBundlesOnly: boolean): ReportHead {
  const { generation = 0n, revision = "", digest: targetDigest = "" } = target ?? {};
  const rest = packed(FleetReportSchema, create(FleetReportSchema, { fleet: name, generation, revision, targetDigest, summary }));
  // Encoding all of them would be a sixth of what an agent does while it applies a hundred bundles.
  const words = new Map(bundles.map((bundle) => [bundle.name ?? "", JSON.stringify(bundle)]));
  const now: ToldHead = { target: `${generation} ${revision} ${targetDigest}`, rest: shortHash(rest.bytes), bundles: words };
  const hasSameBundles = before?.target === now.target && before.bundles.size === words.size && [...words.keys()].every((key) => before.bundles.has(key));
  const changed = hasSameBundles ? bundles.filter(({ name: bundle = "" }) => before.bundles.get(bundle) !== words.get(bundle)) : bundles;
  const named = (changedBundlesOnly ? changed : bundles).map((bundle) => packed(BundleStateSchema, create(BundleStateSchema, bundle)));
  return {
    first: { ...rest.message, bundles: named.map(({ message }) => message), changedBundlesOnly: changedBundlesOnly && hasSameBundles },
    firstBytes: rest.bytes.length + named.reduce((sum, { bytes }) => sum + bytes.length + 4, 2),
    others: changedBundlesOnly ? { ...rest.message, changedBundlesOnly } : undefined,
    othersBytes: rest.bytes.length + 2,
    isNews: !hasSameBundles || changed.length > 0 || now.rest !== before.rest,
    told: now,
  };
}

/** Cut into reports that fit in a message each; everything but the phases, which are few, may go on in the next. */
export function inParts(
  head: ReportHead,
  states: readonly Packed<ObjectState>[],
  gone: readonly ObjectId[],
  events: readonly ClusterEvent[],
  phases: readonly PhaseTime[],
): FleetReport[] {
  const parts: FleetReport[] = [];
  let bytes = 0;
  const open = (): FleetReport => {
    const others = parts.length > 0 ? head.others : undefined;
    const part: FleetReport = { ...(others ?? head.first), objects: [], gone: [], events: [], phases: [] };
    parts.push(part);
    bytes = others ? head.othersBytes : head.firstBytes;
    return part;
  };
  open().phases.push(...phases);
  const put = (size: number, isFull: (part: FleetReport) => boolean, into: (part: FleetReport) => void) => {
    const last = parts.at(-1) as FleetReport;
    into(isFull(last) || bytes + size > engineLimits.reportBytes ? open() : last);
    bytes += size;
  };
  for (const { message, bytes: encoded } of states)
    put(
      encoded.length + 4,
      (part) => part.objects.length >= maxObjectsPerReport,
      (part) => part.objects.push(message),
    );
  for (const id of gone)
    put(
      600,
      (part) => part.gone.length >= maxObjectsPerReport,
      (part) => part.gone.push(create(ObjectIdSchema, wireId(id))),
    );
  for (const event of events)
    put(
      toBinary(ClusterEventSchema, event).length + 4,
      (part) => part.events.length >= maxEventsPerReport,
      (part) => part.events.push(event),
    );
  return parts;
}

export function wireId({ group, kind, namespace, name }: ObjectId): MessageInitShape<typeof ObjectIdSchema> {
  return { group, kind, namespace, name };
}
