import { fromBinary } from "@bufbuild/protobuf";
import { ReportEnvelopeSchema, type ReportEnvelope } from "@flotilla/proto/gen/report";
import { isName } from "@flotilla/proto/names";
import { clusterOfSubject } from "@flotilla/proto/subjects";
import { checkReport } from "../domain/check-report.ts";

/** A message as the broker gave it. */
export interface BrokerMessage {
  readonly subject: string;
  readonly streamSeq: number;
  readonly content: Uint8Array;
  /** Nats-Msg-Id: "cluster/epoch/seq/round" (reportMessageId). */
  readonly messageId: string;
}

/** A message that was looked at. What a message says about its cluster is never trusted: the subject tells, the broker guards it. */
export type DecodedReport = {
  readonly subject: string;
  readonly streamSeq: number;
  /** Of the subject; empty when that is none of ours. */
  readonly cluster: string;
} & (
  | { readonly kind: "report"; readonly envelope: ReportEnvelope; readonly content: Uint8Array }
  | { readonly kind: "poison"; readonly reason: string; readonly content: Uint8Array; readonly place: ReportPlace | undefined }
);

/** Where in its cluster's order a message belongs. */
export interface ReportPlace {
  readonly epoch: string;
  readonly seq: bigint;
}

/** Never throws: what cannot be read is poison, with its place in the order when the message id tells it. */
export function decodeReport(message: BrokerMessage): DecodedReport {
  const { subject, streamSeq, content } = message;
  const cluster = clusterOfSubject(subject);
  const poison = (reason: string): DecodedReport => ({
    kind: "poison",
    subject,
    streamSeq,
    cluster: cluster ?? "",
    reason,
    content,
    place: placeOf(message.messageId, cluster),
  });
  if (cluster === undefined || !isName(cluster)) return poison("the subject names no cluster");
  try {
    const envelope = fromBinary(ReportEnvelopeSchema, content);
    const reason = checkReport(envelope, cluster);
    return reason === undefined ? { kind: "report", subject, streamSeq, cluster, envelope, content } : poison(reason);
  } catch (error) {
    return poison(`not a report: ${(error as Error).message}`);
  }
}

function placeOf(messageId: string, cluster: string | undefined): ReportPlace | undefined {
  const match = /^([^/]+)\/([0-9a-f]{1,64})\/(\d{1,18})\/\d+$/.exec(messageId);
  const [, named, epoch, seq] = match ?? [];
  if (cluster === undefined || named !== cluster || epoch === undefined || seq === undefined) return undefined;
  return { epoch, seq: BigInt(seq) };
}
