import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate, timestampNow } from "@bufbuild/protobuf/wkt";
import { type ReportEnvelope, ReportEnvelopeSchema } from "@flotilla/proto/gen/report";
import { failpoint } from "@flotilla/proto/failpoint";
import { maxReportBytes } from "@flotilla/proto/limits";
import { judgeWatermark, lossOfDropping, type Loss, type OutboxPosition, type OutboxWatermark } from "../domain/outbox-rules.ts";
import { reportLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { encodeFrame } from "./record-frame.ts";
import { createSegment, findSegments, lastSeqOf, readRecords, readSegment, type Segment, syncFolder } from "./segment.ts";

export type Report = ReportEnvelope["report"];

/** One report as it is published. */
export interface OutboxRecord {
  readonly seq: bigint;
  readonly traceparent: string;
  /** A ReportEnvelope, encoded. */
  readonly envelope: Uint8Array;
}

/**
 * - `OutboxClosed`: the agent is stopping.
 * - `ReportTooLarge`: the report was not cut to what one message takes; nothing was recorded.
 * - `OutboxStuck`: the disk takes nothing, and too much waits for it already.
 */
export class OutboxError extends Error {
  override readonly name = "OutboxError";
  readonly code: "OutboxClosed" | "ReportTooLarge" | "OutboxStuck";

  constructor(code: OutboxError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** Where reports stay until the hub has committed them (G1). */
export interface Outbox {
  readonly cluster: string;
  /** 128 random bits, hex. Changes when the log was lost, or the hub knows more of this epoch than the log. */
  readonly epoch: string;
  /** The newest report that is on disk; 0 when none ever was. */
  readonly newestSeq: bigint;
  /** The oldest report that is still held (a gap counts from its first); newestSeq + 1 when none is. */
  readonly oldestSeq: bigint;
  /** What the hub confirmed last; 0 before it said anything. */
  readonly watermark: bigint;
  /**
   * Records a report. On disk when resolved, with the report's sequence number.
   *
   * @throws OutboxError
   */
  record(report: Report, traceparent?: string): Promise<bigint>;
  /** Takes the hub's watermark: what it covers is forgotten. Resolves to true when a new epoch began: the link must say Hello again. */
  acknowledge(watermark: OutboxWatermark): Promise<boolean>;
  /** Records from `seq` on, oldest first; a gap in front stands for what was dropped. Empty when there are none yet. */
  read(seq: bigint): Promise<OutboxRecord[]>;
  /** Told when a snapshot of everything should be recorded; at once when one is due already. */
  onSnapshotNeeded(callback: () => void): void;
  /** Told when there is something new to publish. */
  onRecorded(callback: () => void): void;
  /** Told when the hub said how far it is; `again` when it, or a new epoch, wants everything after `watermark` once more. */
  onWatermark(callback: (again: boolean) => void): void;
  close(): Promise<void>;
}

interface Pending {
  readonly head: Uint8Array;
  readonly events: number;
  readonly traceparent: string;
  readonly endsSnapshot: boolean;
  resolve(seq: bigint): void;
  reject(error: Error): void;
}

/** Epoch and the two sequence numbers, encoded. */
const tailBytesMax = 64;

/** A file that is there after an end in order. */
const closedMark = "closed";

/** What must be known after a restart besides the segments: "owed.json". */
interface Owed {
  readonly epoch: string;
  /** A snapshot is due: a gap was made, or the epoch began. */
  readonly snapshot: boolean;
  readonly loss?: { readonly firstSeq: string; readonly seq: string; readonly events: number; readonly reason: string };
}

export interface OutboxOptions {
  /** A folder of its own. */
  readonly dir: string;
  readonly cluster: string;
  /** Default 64 MiB. */
  readonly maxBytes?: number;
  readonly maxRecords?: number;
  readonly log: Log;
}

/**
 * Opens the outbox. A tail that was being written when the process died is cut: nobody was told that it was recorded. A log that
 * is missing or damaged is given up: a new epoch begins and a snapshot is wanted. One is wanted also when the process before did not end in order.
 *
 * @throws Error when the folder cannot be used.
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  const log = new FileOutbox(options);
  await log.load();
  return log;
}

class FileOutbox implements Outbox {
  readonly cluster: string;
  readonly #dir: string;
  readonly #log: Log;
  readonly #maxBytes: number;
  readonly #maxRecords: number;
  readonly #segmentBytes: number;
  #epoch = "";
  #segments: Segment[] = [];
  /** Of the last segment. */
  #file: FileHandle | undefined;
  #newest = 0n;
  #watermark = 0n;
  #loss: Loss | undefined;
  #owesSnapshot = false;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #closed = false;
  /** Everything that touches files takes its turn. */
  #turn: Promise<unknown> = Promise.resolve();
  #writing: Promise<void> | undefined;
  #stopWaiting: () => void = () => undefined;
  readonly #snapshotCallbacks: (() => void)[] = [];
  readonly #recordedCallbacks: (() => void)[] = [];
  readonly #watermarkCallbacks: ((again: boolean) => void)[] = [];

  constructor({ dir, cluster, maxBytes = reportLimits.outboxBytes, maxRecords = reportLimits.outboxRecords, log }: OutboxOptions) {
    this.cluster = cluster;
    this.#dir = dir;
    this.#log = log;
    this.#maxBytes = maxBytes;
    this.#maxRecords = maxRecords;
    this.#segmentBytes = Math.max(reportLimits.minSegmentBytes, Math.floor(maxBytes / reportLimits.segmentsPerOutbox));
  }

  get epoch(): string {
    return this.#epoch;
  }

  get newestSeq(): bigint {
    return this.#newest;
  }

  get oldestSeq(): bigint {
    if (this.#loss !== undefined) return this.#loss.firstSeq;
    const held = this.#heldFrom();
    return held > this.#watermark ? held : this.#watermark + 1n;
  }

  get watermark(): bigint {
    return this.#watermark;
  }

  async load(): Promise<void> {
    const isClosed = await this.#takeClosedMark();
    const owed = await this.#readOwed();
    const found = await this.#readLog();
    if (found === undefined) return await this.#beginEpoch();
    this.#epoch = found.epoch;
    // What the process before had not recorded yet when it died (that an object is gone, above all) nobody would say again.
    this.#owesSnapshot = !isClosed;
    this.#segments = found.segments;
    this.#newest = found.newest;
    const active = this.#segments.at(-1);
    if (active !== undefined) this.#file = await open(active.path, "r+");
    if (owed?.epoch !== found.epoch) return;
    this.#owesSnapshot ||= owed.snapshot;
    if (owed.loss === undefined) return;
    this.#loss = { ...owed.loss, firstSeq: BigInt(owed.loss.firstSeq), seq: BigInt(owed.loss.seq) };
    // It died after it wrote down the loss and before it removed what was lost.
    await this.#removeSegments((segment) => lastSeqOf(segment) <= (this.#loss?.seq ?? 0n));
    if (this.#loss.seq + 1n !== this.#heldFrom()) this.#loss = undefined;
  }

  async record(report: Report, traceparent = ""): Promise<bigint> {
    if (this.#closed) throw new OutboxError("OutboxClosed", "the outbox is closed");
    // Encodings of one message may be put one after the other: epoch and seq are added when it is written.
    const head = toBinary(ReportEnvelopeSchema, create(ReportEnvelopeSchema, { cluster: this.cluster, recordedAt: timestampNow(), traceparent, report }));
    if (head.byteLength + tailBytesMax > maxReportBytes) {
      throw new OutboxError(
        "ReportTooLarge",
        `a report of ${head.byteLength} bytes does not fit in one message of ${maxReportBytes}: whoever made it must split it or cut its texts`,
      );
    }
    if (this.#pendingBytes + head.byteLength > reportLimits.pendingBytes) {
      throw new OutboxError("OutboxStuck", `reports cannot be written to ${this.#dir}, and ${this.#pendingBytes} bytes wait already: look at the disk`);
    }
    return await new Promise((resolve, reject) => {
      this.#pendingBytes += head.byteLength;
      this.#pending.push({ head, events: eventsIn(report), traceparent, endsSnapshot: endsSnapshot(report), resolve, reject });
      this.#writing ??= this.#writePending();
    });
  }

  acknowledge(watermark: OutboxWatermark): Promise<boolean> {
    return this.#inTurn(() => this.#acknowledge(watermark));
  }

  read(seq: bigint): Promise<OutboxRecord[]> {
    return this.#inTurn(async () => {
      const loss = this.#loss;
      if (loss !== undefined && seq <= loss.seq) return [this.#gapRecord(loss)];
      const segment = this.#segments.find((candidate) => candidate.offsets.length > 0 && lastSeqOf(candidate) >= seq);
      if (segment === undefined) return [];
      const from = seq < segment.firstSeq ? segment.firstSeq : seq;
      const isActive = segment === this.#segments.at(-1);
      const file = isActive && this.#file ? this.#file : await open(segment.path, "r");
      try {
        return await readRecords(file, segment, from, reportLimits.readRecords, reportLimits.readBytes);
      } finally {
        if (file !== this.#file) await file.close();
      }
    });
  }

  onSnapshotNeeded(callback: () => void): void {
    this.#snapshotCallbacks.push(callback);
    // One that a gap is owed waits until the hub has taken the gap: before that it would only fill what is full.
    if (this.#owesSnapshot && this.#loss === undefined) queueMicrotask(callback);
  }

  onRecorded(callback: () => void): void {
    this.#recordedCallbacks.push(callback);
  }

  onWatermark(callback: (again: boolean) => void): void {
    this.#watermarkCallbacks.push(callback);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopWaiting();
    await this.#writing;
    await this.#inTurn(async () => {
      await this.#file?.close();
      this.#file = undefined;
      // Where it cannot be written the next process makes a snapshot that nobody needs.
      await writeFile(join(this.#dir, closedMark), "", { mode: 0o600 }).catch(() => undefined);
    });
  }

  /** Whether the process before ended in order: then all that it knew is recorded. Said once: the next one has to earn it. */
  async #takeClosedMark(): Promise<boolean> {
    return await unlink(join(this.#dir, closedMark)).then(
      () => true,
      () => false,
    );
  }

  /** First seq that the segments hold; newest + 1 when they hold none. */
  #heldFrom(): bigint {
    return this.#segments.find((segment) => segment.offsets.length > 0)?.firstSeq ?? this.#newest + 1n;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** Group commit: everything that came while the disk was busy is written and synced at once. */
  async #writePending(): Promise<void> {
    let lastError = "";
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      try {
        await this.#inTurn(() => this.#writeBatch(batch));
        lastError = "";
      } catch (error) {
        // What was written of the batch was answered; the rest waits in front of what came meanwhile.
        this.#pending = [...batch, ...this.#pending];
        if (this.#closed) break;
        const message = (error as Error).message;
        if (message !== lastError) this.#log.error({ dir: this.#dir, error: message }, "reports cannot be written; trying again");
        lastError = message;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, reportLimits.diskRetryMs);
          this.#stopWaiting = () => (clearTimeout(timer), resolve());
        });
      }
    }
    for (const { reject } of this.#pending.splice(0)) reject(new OutboxError("OutboxClosed", "the outbox was closed before the report could be written"));
    this.#writing = undefined;
  }

  /** Takes what it has written off the batch. */
  async #writeBatch(batch: Pending[]): Promise<void> {
    const before = this.#newest;
    try {
      while (batch.length > 0) {
        await this.#writeSome(batch);
        await this.#dropOverflow();
      }
    } finally {
      if (this.#newest !== before) for (const callback of this.#recordedCallbacks) callback();
    }
  }

  /** As much of the batch as one segment takes, with one sync. */
  async #writeSome(batch: Pending[]): Promise<void> {
    const segment = await this.#writableSegment();
    const file = this.#file;
    if (file === undefined) throw new Error("the outbox is closed");
    const frames: Buffer[] = [];
    let size = segment.size;
    for (const next of batch) {
      if (frames.length > 0 && size >= this.#segmentBytes) break;
      const frame = this.#frameOf(next, this.#newest + BigInt(frames.length) + 1n);
      frames.push(frame);
      size += frame.length;
    }
    try {
      await writeAll(file, Buffer.concat(frames), segment.size);
      failpoint("outbox-before-sync");
      await file.datasync();
    } catch (error) {
      await file.truncate(segment.size).catch(() => undefined);
      throw error;
    }
    for (const frame of frames) {
      segment.offsets.push(segment.size);
      segment.size += frame.length;
    }
    const written = batch.splice(0, frames.length);
    const first = this.#newest + 1n;
    this.#newest += BigInt(written.length);
    for (const [index, { head, events, resolve }] of written.entries()) {
      segment.events += events;
      this.#pendingBytes -= head.byteLength;
      resolve(first + BigInt(index));
    }
    if (this.#owesSnapshot && this.#loss === undefined && written.some(({ endsSnapshot: ends }) => ends)) await this.#owe(false, undefined);
  }

  #frameOf({ head, events, traceparent }: Pending, seq: bigint): Buffer {
    const tail = toBinary(ReportEnvelopeSchema, create(ReportEnvelopeSchema, { epoch: this.#epoch, seq, firstSeq: seq }));
    return encodeFrame({ seq, events, traceparent, envelope: Buffer.concat([head, tail]) });
  }

  async #writableSegment(): Promise<Segment> {
    const active = this.#segments.at(-1);
    if (active !== undefined && (active.offsets.length === 0 || active.size < this.#segmentBytes)) return active;
    const { segment, file } = await createSegment(this.#dir, this.#epoch, this.#newest + 1n);
    await this.#file?.close();
    this.#file = file;
    this.#segments.push(segment);
    return segment;
  }

  /** Over the bound the oldest segments go, and one gap stands for them. The loss is on disk before the segments are not. */
  async #dropOverflow(): Promise<void> {
    let bytes = this.#segments.reduce((sum, segment) => sum + segment.size, 0);
    let records = this.#segments.reduce((sum, segment) => sum + segment.offsets.length, 0);
    const dropped: Segment[] = [];
    for (const segment of this.#segments.slice(0, -1)) {
      if (bytes <= this.#maxBytes && records <= this.#maxRecords) break;
      dropped.push(segment);
      bytes -= segment.size;
      records -= segment.offsets.length;
    }
    const last = dropped.at(-1);
    if (last === undefined) return;
    const loss = lossOfDropping(this.#position(), { seq: lastSeqOf(last), events: dropped.reduce((sum, segment) => sum + segment.events, 0) });
    if (loss !== undefined) {
      const { firstSeq, seq, events } = loss;
      this.#log.warn(
        { firstSeq: String(firstSeq), seq: String(seq), events },
        "the outbox is full: its oldest reports were dropped, a gap and a snapshot follow",
      );
      await this.#owe(true, loss);
      failpoint("outbox-before-drop");
    }
    await this.#removeSegments((segment) => dropped.includes(segment));
  }

  async #acknowledge(said: OutboxWatermark): Promise<boolean> {
    const verdict = judgeWatermark(this.#position(), said);
    if (verdict.kind === "foreign") return false;
    if (verdict.kind === "older-copy") {
      this.#log.warn(
        { watermark: String(said.seq), newest: String(this.#newest) },
        "the hub knows reports that this outbox does not: it is an older copy. A new epoch begins",
      );
      await this.#beginEpoch();
      this.#tellSnapshot();
      this.#tellWatermark(true);
      return true;
    }
    this.#watermark = said.seq;
    if (verdict.owes) await this.#owe(true, verdict.owes.loss);
    if (verdict.tellsSnapshot) this.#tellSnapshot();
    await this.#removeSegments((segment) => segment !== this.#segments.at(-1) && lastSeqOf(segment) <= said.seq);
    this.#tellWatermark(verdict.again);
    return false;
  }

  #position(): OutboxPosition {
    return { epoch: this.#epoch, newest: this.#newest, watermark: this.#watermark, heldFrom: this.#heldFrom(), loss: this.#loss };
  }

  #tellWatermark(again: boolean): void {
    for (const callback of this.#watermarkCallbacks) callback(again);
  }

  #tellSnapshot(): void {
    for (const callback of this.#snapshotCallbacks) queueMicrotask(callback);
  }

  async #beginEpoch(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    for (const path of await findSegments(this.#dir)) await unlink(path);
    this.#epoch = randomBytes(16).toString("hex");
    this.#segments = [];
    this.#newest = 0n;
    this.#watermark = 0n;
    await this.#owe(true, undefined);
    await this.#writableSegment();
  }

  async #removeSegments(isGone: (segment: Segment) => boolean): Promise<void> {
    const gone = this.#segments.filter(isGone);
    if (gone.length === 0) return;
    const active = this.#segments.at(-1);
    if (active !== undefined && gone.includes(active)) {
      await this.#file?.close();
      this.#file = undefined;
    }
    this.#segments = this.#segments.filter((segment) => !gone.includes(segment));
    // Oldest first: what is left after a crash has no hole.
    for (const { path } of gone) await unlink(path);
    if (this.#segments.length === 0) await this.#writableSegment();
  }

  #gapRecord({ firstSeq, seq, events, reason }: Loss): OutboxRecord {
    const text = events > 0 ? `${reason}; ${events} events are lost` : reason;
    const gap = { case: "gap" as const, value: { $typeName: "fleet.v1.Gap" as const, count: seq - firstSeq + 1n, reason: text } };
    const envelope = create(ReportEnvelopeSchema, {
      cluster: this.cluster,
      epoch: this.#epoch,
      seq,
      firstSeq,
      recordedAt: timestampFromDate(new Date()),
      report: gap,
    });
    return { seq, traceparent: "", envelope: toBinary(ReportEnvelopeSchema, envelope) };
  }

  /** Writes down what is owed, before it counts. */
  async #owe(snapshot: boolean, loss: Loss | undefined): Promise<void> {
    const owed: Owed = { epoch: this.#epoch, snapshot, ...(loss && { loss: { ...loss, firstSeq: String(loss.firstSeq), seq: String(loss.seq) } }) };
    const path = join(this.#dir, "owed.json");
    await writeFile(`${path}.new`, JSON.stringify(owed), { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
    await syncFolder(this.#dir);
    this.#owesSnapshot = snapshot;
    this.#loss = loss;
  }

  async #readOwed(): Promise<Owed | undefined> {
    try {
      return JSON.parse(await readFile(join(this.#dir, "owed.json"), "utf8")) as Owed;
    } catch {
      return undefined;
    }
  }

  /** The log as the segments give it, its torn tail cut; undefined when there is none, or it has a hole. */
  async #readLog(): Promise<{ epoch: string; segments: Segment[]; newest: bigint } | undefined> {
    const paths = await findSegments(this.#dir);
    const segments: Segment[] = [];
    let epoch: string | undefined;
    for (const [index, path] of paths.entries()) {
      const found = await readSegment(path);
      const previous = segments.at(-1);
      const fits =
        found !== undefined && (epoch ?? found.epoch) === found.epoch && (previous === undefined || found.segment.firstSeq === lastSeqOf(previous) + 1n);
      const isLast = index === paths.length - 1;
      if (!fits || (!isLast && found.fileBytes !== found.segment.size)) {
        this.#log.error({ path }, "the outbox is damaged: it is given up, and a snapshot follows");
        return undefined;
      }
      if (found.fileBytes !== found.segment.size) await cutTail(path, found.segment.size);
      epoch = found.epoch;
      segments.push(found.segment);
    }
    const last = segments.at(-1);
    return last === undefined || epoch === undefined ? undefined : { epoch, segments, newest: lastSeqOf(last) };
  }
}

async function cutTail(path: string, size: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.truncate(size);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    if (bytesWritten === 0) throw new Error("the disk took nothing");
    done += bytesWritten;
  }
}

function eventsIn(report: Report): number {
  if (report.case === "fleet") return report.value.events.length;
  return report.case === "snapshot" ? (report.value.state?.events.length ?? 0) : 0;
}

function endsSnapshot(report: Report): boolean {
  return report.case === "snapshot" && report.value.part + 1 >= report.value.parts;
}
