import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { judgeWatermark, lossOfDropping, type Loss, type OutboxPosition, type OutboxWatermark } from "@flotilla/agent/domain/outbox-rules";
import { ReportEnvelopeSchema, type ReportEnvelope } from "@flotilla/proto/gen/report";

/** A report as it is published. */
export interface HeldReport {
  readonly seq: bigint;
  readonly envelope: Uint8Array;
}

/** What lies on the agent's disk. */
export interface OutboxDisk {
  epoch: string;
  newest: bigint;
  records: HeldReport[];
  loss: Loss | undefined;
  owesSnapshot: boolean;
  /** The process before ended in order: all it knew was recorded. */
  isClosed: boolean;
}

export function emptyDisk(): OutboxDisk {
  return { epoch: "", newest: 0n, records: [], loss: undefined, owesSnapshot: false, isClosed: false };
}

/** Few, so that outboxes run over; dropped as the real one drops: a segment at a time. */
const [recordsMax, segmentRecords] = [60, 8];

/** The outbox over memory: its rules are the product's (outbox-rules.ts), its files are an array that survives the process. */
export class MemoryOutbox {
  readonly cluster: string;
  readonly #disk: OutboxDisk;
  readonly #newEpoch: () => string;
  watermark = 0n;

  constructor(cluster: string, disk: OutboxDisk, newEpoch: () => string) {
    this.cluster = cluster;
    this.#disk = disk;
    this.#newEpoch = newEpoch;
    if (disk.epoch === "") this.#beginEpoch();
    if (!disk.isClosed) disk.owesSnapshot = true;
    disk.isClosed = false;
  }

  get epoch(): string {
    return this.#disk.epoch;
  }

  get newest(): bigint {
    return this.#disk.newest;
  }

  /** A snapshot is due, and may be made now. */
  get wantsSnapshot(): boolean {
    return this.#disk.owesSnapshot && this.#disk.loss === undefined;
  }

  /** Records a report made for its place; on disk when it returns. */
  record(report: ReportEnvelope["report"], at: number): bigint {
    const disk = this.#disk;
    const seq = disk.newest + 1n;
    const envelope = toBinary(
      ReportEnvelopeSchema,
      create(ReportEnvelopeSchema, { cluster: this.cluster, epoch: disk.epoch, seq, firstSeq: seq, recordedAt: timestampFromMs(Math.floor(at)), report }),
    );
    disk.newest = seq;
    disk.records.push({ seq, envelope });
    const endsSnapshot = report.case === "snapshot" && report.value.part + 1 >= report.value.parts;
    if (endsSnapshot && disk.loss === undefined) disk.owesSnapshot = false;
    if (disk.records.length > recordsMax) this.#dropOldest();
    return seq;
  }

  /** Takes the hub's watermark. */
  acknowledge(said: OutboxWatermark): { readonly isNewEpoch: boolean; readonly again: boolean } {
    const disk = this.#disk;
    const verdict = judgeWatermark(this.#position(), said);
    if (verdict.kind === "foreign") return { isNewEpoch: false, again: false };
    if (verdict.kind === "older-copy") {
      this.#beginEpoch();
      return { isNewEpoch: true, again: true };
    }
    this.watermark = said.seq;
    if (verdict.owes) [disk.loss, disk.owesSnapshot] = [verdict.owes.loss, true];
    disk.records = disk.records.filter(({ seq }) => seq > said.seq);
    return { isNewEpoch: false, again: verdict.again };
  }

  /** What is to be published from `seq` on: a gap in front stands for what was dropped. */
  read(seq: bigint, at: number): HeldReport | undefined {
    const { loss, records, epoch } = this.#disk;
    if (loss === undefined || seq > loss.seq) return records.find((record) => record.seq >= seq);
    const gap = { case: "gap" as const, value: { $typeName: "fleet.v1.Gap" as const, count: loss.seq - loss.firstSeq + 1n, reason: loss.reason } };
    const envelope = { cluster: this.cluster, epoch, seq: loss.seq, firstSeq: loss.firstSeq, recordedAt: timestampFromMs(Math.floor(at)), report: gap };
    return { seq: loss.seq, envelope: toBinary(ReportEnvelopeSchema, create(ReportEnvelopeSchema, envelope)) };
  }

  close(): void {
    this.#disk.isClosed = true;
  }

  #position(): OutboxPosition {
    const { epoch, newest, loss, records } = this.#disk;
    return { epoch, newest, watermark: this.watermark, heldFrom: records[0]?.seq ?? newest + 1n, loss };
  }

  #dropOldest(): void {
    const disk = this.#disk;
    const last = disk.records[segmentRecords - 1];
    if (last === undefined) return;
    const loss = lossOfDropping(this.#position(), { seq: last.seq, events: segmentRecords });
    if (loss) [disk.loss, disk.owesSnapshot] = [loss, true];
    disk.records = disk.records.slice(segmentRecords);
  }

  #beginEpoch(): void {
    Object.assign(this.#disk, { epoch: this.#newEpoch(), newest: 0n, records: [], loss: undefined, owesSnapshot: true });
    this.watermark = 0n;
  }
}
