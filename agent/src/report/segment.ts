import { type FileHandle, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { decodeFrame, type RecordFrame } from "./record-frame.ts";

/** A part of the log: a header (magic, epoch, first seq, checksum), then frames of consecutive seqs. */
export interface Segment {
  readonly path: string;
  readonly firstSeq: bigint;
  /** Where each record begins; the record of seq s is at offsets[s - firstSeq]. */
  readonly offsets: number[];
  /** Bytes that are good. */
  size: number;
  events: number;
}

const magic = Buffer.from("FLO1");
const headerBytes = 4 + 16 + 8 + 4;
const suffix = ".log";

export const lastSeqOf = (segment: Segment): bigint => segment.firstSeq + BigInt(segment.offsets.length) - 1n;

/** Makes an empty segment on disk and gives it with its open file; it is there also after a power cut. */
export async function createSegment(folder: string, epoch: string, firstSeq: bigint): Promise<{ segment: Segment; file: FileHandle }> {
  const path = join(folder, `${firstSeq.toString().padStart(20, "0")}${suffix}`);
  const header = Buffer.alloc(headerBytes);
  magic.copy(header);
  Buffer.from(epoch, "hex").copy(header, 4);
  header.writeBigUInt64LE(firstSeq, 20);
  header.writeUInt32LE(crc32(header.subarray(0, headerBytes - 4)), headerBytes - 4);
  const part = `${path}.part`;
  const file = await open(part, "w+", 0o600);
  try {
    await file.write(header, 0, headerBytes, 0);
    await file.datasync();
    await rename(part, path);
    await syncFolder(folder);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { segment: { path, firstSeq, offsets: [], size: headerBytes, events: 0 }, file };
}

/** A folder's segments in order of their seqs; unfinished ones are removed. */
export async function findSegments(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  await Promise.all(names.filter((name) => name.endsWith(".part")).map((name) => unlink(join(folder, name))));
  return names
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(folder, name));
}

/** What a file holds up to its first bad byte; undefined when not even its header is good. */
export async function readSegment(path: string): Promise<{ segment: Segment; epoch: string; fileBytes: number } | undefined> {
  const bytes = await readFile(path);
  if (bytes.length < headerBytes || !bytes.subarray(0, 4).equals(magic)) return undefined;
  if (crc32(bytes.subarray(0, headerBytes - 4)) !== bytes.readUInt32LE(headerBytes - 4)) return undefined;
  const firstSeq = bytes.readBigUInt64LE(20);
  const segment: Segment = { path, firstSeq, offsets: [], size: headerBytes, events: 0 };
  for (;;) {
    const found = decodeFrame(bytes, segment.size);
    if (found === undefined || found.frame.seq !== firstSeq + BigInt(segment.offsets.length)) break;
    segment.offsets.push(segment.size);
    segment.size = found.end;
    segment.events += found.frame.events;
  }
  return { segment, epoch: bytes.toString("hex", 4, 20), fileBytes: bytes.length };
}

/** Records of one segment from `seq` on, at most so many and so many bytes, but at least one. */
export async function readRecords(file: FileHandle, segment: Segment, seq: bigint, recordsMax: number, bytesMax: number): Promise<RecordFrame[]> {
  const first = Number(seq - segment.firstSeq);
  const start = segment.offsets[first];
  if (start === undefined) return [];
  let last = first;
  const endOf = (index: number) => segment.offsets[index + 1] ?? segment.size;
  while (last + 1 < segment.offsets.length && last + 1 - first < recordsMax && endOf(last + 1) - start <= bytesMax) last += 1;
  const bytes = Buffer.allocUnsafe(endOf(last) - start);
  await file.read(bytes, 0, bytes.length, start);
  const frames: RecordFrame[] = [];
  for (let offset = 0; offset < bytes.length;) {
    const found = decodeFrame(bytes, offset);
    if (found === undefined) throw new Error(`${segment.path} was damaged while the agent ran`);
    frames.push(found.frame);
    offset = found.end;
  }
  return frames;
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
