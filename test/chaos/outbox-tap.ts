import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { readRecords, readSegment } from "@flotilla/agent/report/segment";
import { type ClusterEvent, ReportEnvelopeSchema } from "@flotilla/proto/gen/report";

/** One event that an agent wrote to its disk: from then on it must not be lost. */
export interface TappedEvent {
  readonly cluster: string;
  /** "epoch/seq". */
  readonly place: string;
  /** When its outbox was looked at last without it, epoch ms: 0 when it was there at the first look. */
  readonly notBefore: number;
  /** When its outbox was looked at first without it again; infinite while it is there. */
  goneAt: number;
  /** Time, reason, object and message, as the hub shows them. */
  readonly text: string;
}

interface SeenReport {
  readonly epoch: string;
  readonly seq: bigint;
  readonly events: readonly TappedEvent[];
  /** In the look before this one it was there too. */
  isThere: boolean;
}

/** Looks into the outboxes of running agents again and again: what was seen recorded is what the hub must have at the end. */
export class OutboxTap {
  readonly #folders = new Map<string, string>();
  /** When each outbox was looked at last, and all of it was read. */
  readonly #lookedAt = new Map<string, number>();
  readonly #seen = new Map<string, Map<string, SeenReport>>();
  /** In the order in which they began: an agent that lost its outbox begins another. */
  readonly #epochs = new Set<string>();

  /** The folder that holds a cluster's segments. */
  watch(cluster: string, folder: string): void {
    this.#folders.set(cluster, folder);
  }

  /** Of each cluster in the order in which its agent recorded them: a segment that could not be read at one look is read at the next. */
  get events(): readonly TappedEvent[] {
    const age = new Map([...this.#epochs].map((epoch, index) => [epoch, index]));
    const all = [...this.#seen.values()].flatMap((reports) => [...reports.values()]);
    const inOrder = all.sort((a, b) => (age.get(a.epoch) ?? 0) - (age.get(b.epoch) ?? 0) || Number(a.seq - b.seq));
    return inOrder.flatMap(({ events }) => events);
  }

  get reports(): number {
    return [...this.#seen.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Reads what lies in all outboxes now. */
  async look(): Promise<void> {
    for (const [cluster, folder] of this.#folders) {
      const began = Date.now();
      const there = new Set<string>();
      let isWhole = true;
      const names = await readdir(folder).catch(() => ((isWhole = false), []));
      for (const name of names)
        if (name.endsWith(".log"))
          await this.#read(cluster, join(folder, name), there).catch((error: NodeJS.ErrnoException) => (isWhole &&= error.code === "ENOENT"));
      // What could not be read may be there.
      if (isWhole) this.#forget(cluster, there);
      if (isWhole) this.#lookedAt.set(cluster, began);
    }
  }

  #forget(cluster: string, there: ReadonlySet<string>): void {
    const now = Date.now();
    for (const [place, report] of this.#seen.get(cluster) ?? []) {
      const isThere = there.has(place);
      if (isThere !== report.isThere) for (const event of report.events) event.goneAt = isThere ? Number.POSITIVE_INFINITY : now;
      report.isThere = isThere;
    }
  }

  async #read(cluster: string, path: string, there: Set<string>): Promise<void> {
    const found = await readSegment(path);
    if (!found || found.segment.offsets.length === 0) return;
    const file = await open(path, "r");
    try {
      const { segment, epoch } = found;
      for (let seq = segment.firstSeq; ;) {
        const records = await readRecords(file, segment, seq, 1_000, 8 * 2 ** 20);
        for (const { seq: of, envelope } of records) {
          there.add(`${epoch}/${of}`);
          this.#keep(cluster, epoch, of, envelope);
        }
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
    const reports = this.#seen.get(cluster) ?? new Map<string, SeenReport>();
    this.#seen.set(cluster, reports);
    if (reports.has(place)) return;
    this.#epochs.add(epoch);
    const { report } = fromBinary(ReportEnvelopeSchema, bytes);
    const fleet = report.case === "fleet" ? report.value : report.case === "snapshot" ? report.value.state : undefined;
    const notBefore = this.#lookedAt.get(cluster) ?? 0;
    reports.set(place, {
      epoch,
      seq,
      isThere: true,
      events: (fleet?.events ?? []).map((event) => ({ cluster, place, notBefore, goneAt: Number.POSITIVE_INFINITY, text: textOf(event) })),
    });
  }
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
