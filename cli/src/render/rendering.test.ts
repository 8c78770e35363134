import { durationOf, shortRevision } from "@flotilla/proto/plain-words";
import type { DriftRow } from "@flotilla/proto/rest/contract";
import { describe, expect, it } from "vitest";
import { readEventStream } from "../connect/event-stream.ts";
import { ageOf } from "./age.ts";
import { driftDiff } from "./drift-view.ts";
import { githubLine, problemLine } from "./problem-lines.ts";
import { tableLines } from "./table.ts";

const plain = (text: string): string => text;
const marked = (text: string, tone: string): string => (tone === "plain" ? text : `<${text}>`);

describe("a table", () => {
  it("is aligned by what is read, not by colours, and has no trailing blanks", () => {
    const rows = [
      { name: "a", state: { text: "Synced", tone: "good" as const }, note: "" },
      { name: "a-long-name", state: { text: "Unknown", tone: "unsure" as const }, note: "two\nlines" },
    ];
    const columns = [
      { title: "NAME", cell: (row: (typeof rows)[0]) => row.name },
      { title: "STATE", cell: (row: (typeof rows)[0]) => row.state },
      { title: "NOTE", cell: (row: (typeof rows)[0]) => row.note },
    ];
    expect(tableLines(columns, rows, plain)).toEqual(["NAME          STATE     NOTE", "a             Synced    -", "a-long-name   Unknown   two lines"]);
    expect(tableLines(columns, rows, marked)[1]).toBe("a             <Synced>    -");
    expect(tableLines(columns, [], plain)).toEqual([]);
  });
});

describe("times", () => {
  it("are as old as kubectl says", () => {
    const now = Date.parse("2026-11-24T12:00:00Z");
    const ago = (ms: number) => ageOf(new Date(now - ms).toISOString(), now);
    expect([0, 12_000, 119_000, 300_000, 7_200_000, 700_000_000].map(ago)).toEqual(["0s", "12s", "119s", "5m", "2h", "8d"]);
    expect(ago(-5_000)).toBe("0s");
    expect(ageOf(null, now)).toBe("never");
  });

  it("are as long as people say", () => {
    expect([84, 1_840, 125_000].map(durationOf)).toEqual(["84 ms", "1.84 s", "2m 05s"]);
    expect([shortRevision("1a2b3c4d5e6f7890"), shortRevision(null)]).toEqual(["1a2b3c4d5e6f", "-"]);
  });
});

describe("a problem", () => {
  const problem = {
    code: "unknown-field",
    message: "unknown field 'bundels'",
    file: "fleet.yaml",
    line: 12,
    column: 5,
    hint: "did you mean 'bundles'?",
    bundle: "web",
  };

  it("has the form that editors jump to", () => {
    expect(problemLine(problem, "error")).toBe("fleet.yaml:12:5: error: unknown field 'bundels' (bundle web)\n  hint: did you mean 'bundles'?");
    expect(problemLine({ code: "x", message: "no objects" }, "warning")).toBe("warning: no objects");
    expect(problemLine({ code: "x", message: "no objects", file: "" }, "warning")).toBe("warning: no objects");
  });

  it("is an annotation on GitHub, with its special characters escaped", () => {
    expect(githubLine({ ...problem, message: "100%: a\nb", file: "a,b:c.yaml" }, "error")).toBe(
      "::error file=a%2Cb%3Ac.yaml,line=12,col=5,title=unknown-field::100%25: a%0Ab%0Adid you mean 'bundles'?",
    );
  });
});

describe("a drift", () => {
  it("lays values out over lines, and shows what is absent", () => {
    const drift: DriftRow = {
      id: 1,
      fleet: "shop",
      cluster: "b",
      bundle: "web",
      object: "/ConfigMap/a/b",
      firstSeenAt: "2026-11-24T00:00:00Z",
      lastSeenAt: "2026-11-24T00:00:00Z",
      times: 1,
      healedAt: null,
      asOf: null,
      fields: [
        { path: "/data", desired: '{"a":"1"}', live: "", manager: "kubectl", operation: "Update", subresource: "", changedAt: null, members: ["f:data"] },
      ],
      firstFields: [],
      managers: ["kubectl"],
      revision: "abcdef",
      healedBy: null,
    };
    const lines = driftDiff(drift, Date.parse("2026-11-24T00:01:00Z"), plain);
    expect(lines.slice(4)).toEqual(["@@ /data @@ written by kubectl (Update)", "- {", '-   "a": "1"', "- }", "+ (absent)"]);
  });
});

describe("an event stream", () => {
  async function read(...chunks: string[]) {
    const found = [];
    async function* bytes() {
      for (const chunk of chunks) yield Buffer.from(chunk, "latin1");
    }
    for await (const message of readEventStream(bytes())) found.push(message);
    return found;
  }

  it("is cut into messages wherever the bytes break", async () => {
    const text = ': ping\n\nevent: change\nid: 7\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\n';
    const wanted = [
      { event: "change", data: '{"a":\n1}', id: "7" },
      { event: "message", data: "x", id: "7" },
    ];
    expect(await read(text)).toEqual(wanted);
    expect(await read(...text)).toEqual(wanted);
  });

  it("joins characters that a chunk cut", async () => {
    const bytes = Buffer.from("data: é\n\n", "utf8").toString("latin1");
    expect((await read(bytes.slice(0, 7), bytes.slice(7)))[0]?.data).toBe("é");
  });

  it("drops a message that was not finished", async () => {
    expect(await read("data: half\n")).toEqual([]);
  });
});
