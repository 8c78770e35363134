import { create, toBinary } from "@bufbuild/protobuf";
import { ReportEnvelopeSchema } from "@flotilla/proto/gen/report";
import { maxObjectsPerReport } from "@flotilla/proto/limits";
import { reportMessageId, reportSubject } from "@flotilla/proto/subjects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeReport, type BrokerMessage, type DecodedReport } from "./decode-report.ts";

const fleet = (more: object = {}) => ({ case: "fleet" as const, value: { fleet: "shop", ...more } });

function message(envelope: object, more: Partial<BrokerMessage> = {}): BrokerMessage {
  const content = toBinary(
    ReportEnvelopeSchema,
    create(ReportEnvelopeSchema, { cluster: "berlin-1", epoch: "aa", seq: 7n, firstSeq: 7n, report: fleet(), ...envelope } as never),
  );
  return { subject: reportSubject("berlin-1"), streamSeq: 1, messageId: reportMessageId("berlin-1", "aa", 7n, 0), content, ...more };
}

const reasonOf = (decoded: DecodedReport): string => (decoded.kind === "poison" ? decoded.reason : "");

describe("decodeReport", () => {
  it("reads a report", () => {
    expect(decodeReport(message({}))).toMatchObject({ kind: "report", cluster: "berlin-1", envelope: { seq: 7n } });
  });

  it.each([
    ["another cluster's name", { cluster: "paris-1" }, "names cluster 'paris-1'"],
    ["no epoch", { epoch: "" }, "epoch"],
    ["seq 0", { seq: 0n, firstSeq: 0n }, "seq 0"],
    ["a seq that no column holds", { seq: 2n ** 63n, firstSeq: 2n ** 63n }, "out of range"],
    ["a first seq behind its seq", { firstSeq: 8n }, "first_seq"],
    ["a report that stands for others and is no gap", { firstSeq: 3n }, "only a gap"],
    ["no report", { report: { case: undefined } }, "does not know"],
    ["an impossible fleet", { report: fleet({ fleet: "../etc" }) }, "cannot be a fleet's name"],
    ["too many objects", { report: fleet({ objects: Array.from({ length: maxObjectsPerReport + 1 }, () => ({})) }) }, "501 objects"],
    ["a snapshot without parts", { report: { case: "snapshot", value: { snapshotId: "s", parts: 0 } } }, "out of range"],
    ["a snapshot without id", { report: { case: "snapshot", value: { parts: 1, part: 1 } } }, "usable id"],
  ])("refuses %s", (_what, envelope, reason) => {
    const decoded = decodeReport(message(envelope));
    expect(reasonOf(decoded)).toContain(reason);
    expect(decoded).toMatchObject({ place: { epoch: "aa", seq: 7n } });
  });

  it("trusts the place only where the subject's cluster names it", () => {
    const content = new Uint8Array([255, 255]);
    expect(decodeReport(message({}, { content }))).toMatchObject({ kind: "poison", place: { seq: 7n } });
    expect(decodeReport(message({}, { content, messageId: reportMessageId("paris-1", "aa", 7n, 0) }))).toMatchObject({ kind: "poison", place: undefined });
    expect(decodeReport(message({}, { content, messageId: "" }))).toMatchObject({ place: undefined });
    expect(decodeReport(message({}, { subject: "flotilla.report" }))).toMatchObject({ kind: "poison", cluster: "", place: undefined });
  });

  it("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), fc.string(), (content, subject, messageId) => {
        expect(["report", "poison"]).toContain(decodeReport({ content, subject: `flotilla.report.${subject}`, messageId, streamSeq: 1 }).kind);
      }),
    );
  });
});
