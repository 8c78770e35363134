import { crc32 } from "node:zlib";

/** One record of the outbox as it lies on disk. */
export interface RecordFrame {
  readonly seq: bigint;
  /** How many events it holds, so that their loss can be counted without reading it. */
  readonly events: number;
  readonly traceparent: string;
  /** A ReportEnvelope, encoded. */
  readonly envelope: Uint8Array;
}

/** Length and checksum of what follows. */
const headBytes = 8;
/** seq, events, length of the traceparent. */
const fixedBytes = 8 + 4 + 1;
const traceparentBytesMax = 255;

/** Largest frame that is believed when a file is read: anything longer is damage. */
const frameBytesMax = 2 * 1024 * 1024;

export function encodeFrame({ seq, events, traceparent, envelope }: RecordFrame): Buffer {
  const trace = Buffer.from(traceparent.slice(0, traceparentBytesMax), "latin1");
  const frame = Buffer.allocUnsafe(headBytes + fixedBytes + trace.length + envelope.byteLength);
  frame.writeBigUInt64LE(seq, headBytes);
  frame.writeUInt32LE(events, headBytes + 8);
  frame.writeUInt8(trace.length, headBytes + 12);
  trace.copy(frame, headBytes + fixedBytes);
  frame.set(envelope, headBytes + fixedBytes + trace.length);
  frame.writeUInt32LE(frame.length - headBytes, 0);
  frame.writeUInt32LE(crc32(frame.subarray(headBytes)), 4);
  return frame;
}

/** The frame that begins at `offset`, and where the next one would; undefined when there is none whole and undamaged. */
export function decodeFrame(bytes: Buffer, offset: number): { readonly frame: RecordFrame; readonly end: number } | undefined {
  if (bytes.length - offset < headBytes + fixedBytes) return undefined;
  const length = bytes.readUInt32LE(offset);
  const end = offset + headBytes + length;
  if (length < fixedBytes || length > frameBytesMax || end > bytes.length) return undefined;
  const body = bytes.subarray(offset + headBytes, end);
  if (crc32(body) !== bytes.readUInt32LE(offset + 4)) return undefined;
  const traceEnd = fixedBytes + body.readUInt8(12);
  if (traceEnd > body.length) return undefined;
  return {
    frame: {
      seq: body.readBigUInt64LE(0),
      events: body.readUInt32LE(8),
      traceparent: body.toString("latin1", fixedBytes, traceEnd),
      envelope: body.subarray(traceEnd),
    },
    end,
  };
}
