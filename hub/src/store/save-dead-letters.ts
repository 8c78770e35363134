import type pg from "pg";
import { deadLetterBytesMax } from "../limits.ts";

/** A message that could not be read or folded. */
export interface DeadLetter {
  readonly cluster: string;
  readonly subject: string;
  readonly streamSeq: number;
  readonly reason: string;
  readonly content: Uint8Array;
}

/** Keeps them for people, and asks their clusters for a snapshot. */
export async function saveDeadLetters(client: pg.ClientBase, letters: readonly DeadLetter[]): Promise<void> {
  if (letters.length === 0) return;
  await client.query({
    name: "save-dead-letters",
    text: `INSERT INTO dead_letters (cluster, subject, stream_seq, reason, content) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[])`,
    values: [
      letters.map(({ cluster }) => cluster),
      letters.map(({ subject }) => subject),
      letters.map(({ streamSeq }) => streamSeq),
      letters.map(({ reason }) => reason.replaceAll("\0", "\uFFFD").slice(0, 1_000)),
      letters.map(({ content }) => Buffer.from(content.subarray(0, deadLetterBytesMax))),
    ],
  });
  await client.query({
    name: "flag-dead-letters",
    text: "UPDATE clusters SET wants_snapshot = true WHERE name = ANY($1::text[]) AND NOT wants_snapshot",
    values: [[...new Set(letters.map(({ cluster }) => cluster))].sort()],
  });
}
