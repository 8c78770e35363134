import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { readRecords, readSegment } from "@flotilla/agent/report/segment";
import { type ClusterEvent, type FleetReport, ReportEnvelopeSchema } from "@flotilla/proto/gen/report";

/** One event that an agent wrote to its disk: from then on it must not be lost. */
export interface TappedEvent {
  readonly cluster: string;
  /** "epoch/seq". */
  readonly place: string;
  /** When it was seen first, epoch ms. */
  readonly seenAt: number;
  /** Time, reason, object and message, as the hub shows them. */
  readonly text: string;
}

interface SeenReport {
  readonly epoch: string;
  readonly seq: bigint;
  readonly events: readonly TappedEvent[];
}

/** Looks into the outboxes of running agents again and again: what was seen recorded is what the hub must have at the end. */
export class OutboxTap {
  readonly #folders = new Map<string, string>();
  readonly #seen = new Map<string, SeenReport>();
  /** In the order in which they began: an agent that lost its outbox begins another. */
  readonly #epochs = new Set<string>();

  /** The folder that holds a cluster's segments. */
  watch(cluster: string, folder: string): void {
    this.#folders.set(cluster, folder);
  }

  /** Of each cluster in the order in which its agent recorded them: a segment that could not be read at one look is read at the next. */
  get events(): readonly TappedEvent[] {
    const age = new Map([...this.#epochs].map((epoch, index) => [epoch, index]));
    const inOrder = [...this.#seen.values()].sort((a, b) => (age.get(a.epoch) ?? 0) - (age.get(b.epoch) ?? 0) || Number(a.seq - b.seq));
    return inOrder.flatMap(({ events }) => events);
  }

  get reports(): number {
    return this.#seen.size;
  }

  /** Reads what lies in all outboxes now. What vanishes meanwhile was committed meanwhile, and is looked at no more. */
  async look(): Promise<void> {
    for (const [cluster, folder] of this.#folders) {
      const names = await readdir(folder).catch(() => []);
      for (const name of names) if (name.endsWith(".log")) await this.#read(cluster, join(folder, name)).catch(() => undefined);
    }
  }

  async #read(cluster: string, path: string): Promise<void> {
    const found = await readSegment(path);
    if (!found || found.segment.offsets.length === 0) return;
    const file = await open(path, "r");
    try {
      const { segment, epoch } = found;
      for (let seq = segment.firstSeq; ;) {
        const records = await readRecords(file, segment, seq, 1_000, 8 * 2 ** 20);
        for (const { seq: of, envelope } of records) this.#keep(cluster, epoch, of, envelope);
        const last = records.at(-1);
        if (!last) return;
        seq = last.seq + 1n;
      }
    } finally {
      await file.close();
    }
  }

  #keep(cluster: string, epoch: string, seq: bigint, bytes: Uint8Array): void {
    const place = `${epoch}/${seq}`;
    const key = `${cluster} ${place}`;
    if (this.#seen.has(key)) return;
    this.#epochs.add(epoch);
    const { report } = fromBinary(ReportEnvelopeSchema, bytes);
    const fleet = report.case === "fleet" ? report.value : report.case === "snapshot" ? report.value.state : undefined;
    this.#seen.set(key, { epoch, seq, events: fleet ? eventsOf(cluster, place, fleet) : [] });
  }
}

function eventsOf(cluster: string, place: string, { events }: FleetReport): TappedEvent[] {
  const seenAt = Date.now();
  return events.map((event) => ({ cluster, place, seenAt, text: textOf(event) }));
}

function textOf({ at, reason, object, message }: ClusterEvent): string {
  const name = object ? [object.group, object.kind, object.namespace, object.name].join("/") : "";
  return shownEvent({ at: at ? timestampDate(at).toISOString() : "", reason, object: name, message });
}

/** An event in one line, the same for what an agent recorded and for what the hub serves. */
export function shownEvent({
  at,
  reason,
  object,
  message,
}: {
  readonly at: string;
  readonly reason: string;
  readonly object: string;
  readonly message: string;
}): string {
  return `${at} ${reason} ${object} ${message}`;
}
