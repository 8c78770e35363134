import fc from "fast-check";
import { expect, it } from "vitest";
import { decodeFrame, encodeFrame } from "./record-frame.ts";

const frames = fc.record({
  seq: fc.bigInt({ min: 1n, max: 2n ** 63n }),
  events: fc.nat(),
  traceparent: fc.constantFrom("", `00-${"a".repeat(32)}-${"b".repeat(16)}-01`),
  envelope: fc.uint8Array({ maxLength: 300 }),
});

it("gives back what it took, one after the other", () => {
  fc.assert(
    fc.property(fc.array(frames, { maxLength: 8 }), (written) => {
      const bytes = Buffer.concat(written.map(encodeFrame));
      let offset = 0;
      for (const frame of written) {
        const found = decodeFrame(bytes, offset);
        expect(found && { ...found.frame, envelope: Uint8Array.from(found.frame.envelope) }).toEqual({ ...frame, envelope: Uint8Array.from(frame.envelope) });
        offset = found?.end ?? 0;
      }
      expect(decodeFrame(bytes, offset)).toBeUndefined();
    }),
  );
});

it("knows a frame that was cut, or of which one bit turned", () => {
  fc.assert(
    fc.property(frames, fc.nat(), fc.nat(7), (frame, at, bit) => {
      const bytes = encodeFrame(frame);
      expect(decodeFrame(bytes.subarray(0, at % bytes.length), 0)).toBeUndefined();
      const turned = Buffer.from(bytes);
      const index = at % bytes.length;
      turned.writeUInt8(turned.readUInt8(index) ^ (1 << bit), index);
      expect(decodeFrame(turned, 0)).toBeUndefined();
    }),
  );
});
