import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitLines } from "./split-lines.ts";

describe("lines of a stream", () => {
  it("come out whole, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, unit: "grapheme" }).filter((line) => !line.includes("\n"))),
        fc.integer({ min: 1, max: 7 }),
        (lines, size) => {
          const stream = Buffer.from(lines.map((line) => `${line}\n`).join(""));
          const got: string[] = [];
          const push = splitLines(1_000_000, (line) => got.push(line.toString("utf8")));
          for (let at = 0; at < stream.length; at += size) push(stream.subarray(at, at + size));
          expect(got).toEqual(lines);
        },
      ),
    );
  });

  it("have a bound", () => {
    const push = splitLines(10, () => undefined);
    push(Buffer.from("123456\n12345678"));
    expect(() => push(Buffer.from("901234"))).toThrow(/longer than 10 bytes/);
  });
});
