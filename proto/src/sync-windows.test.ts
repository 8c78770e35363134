import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgeWindows, type SyncWindow, type SyncWindows } from "./sync-windows.ts";

const hourMs = 3_600_000;
const at = (text: string) => Date.parse(text);
const windows = (more: Partial<SyncWindows>): SyncWindows => ({ allow: [], deny: [], whenClosed: "finish", heal: false, ...more });
const nightly: SyncWindow = { timeZone: "Europe/Berlin", schedule: "0 22 * * *", durationMs: 6 * hourMs };
const holidays: SyncWindow = { timeZone: "Europe/Berlin", from: "2026-12-20T00:00", to: "2027-01-02T08:00" };
const told = (all: readonly SyncWindows[], time: string) => {
  const { isOpen, until } = judgeWindows(all, at(time));
  return `${isOpen ? "open" : "closed"} until ${until === undefined ? "ever" : new Date(until).toISOString().slice(0, 16)}`;
};

describe("sync windows", () => {
  it("are open without any, and with deny windows while none is active", () => {
    expect(told([], "2026-11-25T12:00Z")).toBe("open until ever");
    expect(told([windows({})], "2026-11-25T12:00Z")).toBe("open until ever");
    expect(told([windows({ deny: [holidays] })], "2026-11-25T12:00Z")).toBe("open until 2026-12-19T23:00");
    expect(told([windows({ deny: [holidays] })], "2026-12-24T12:00Z")).toBe("closed until 2027-01-02T07:00");
    expect(told([windows({ deny: [holidays] })], "2027-01-02T07:00Z")).toBe("open until ever");
  });

  it("with allow windows are open while one is active", () => {
    expect(told([windows({ allow: [nightly] })], "2026-11-25T12:00Z")).toBe("closed until 2026-11-25T21:00");
    expect(told([windows({ allow: [nightly] })], "2026-11-25T21:00Z")).toBe("open until 2026-11-26T03:00");
    expect(told([windows({ allow: [nightly] })], "2026-11-26T03:00Z")).toBe("closed until 2026-11-26T21:00");
  });

  it("deny wins over allow, and every block must be open", () => {
    expect(told([windows({ allow: [nightly], deny: [holidays] })], "2026-12-24T22:00Z")).toBe("closed until 2027-01-02T21:00");
    expect(told([windows({ allow: [nightly] }), windows({ deny: [holidays] })], "2026-12-24T22:00Z")).toBe("closed until 2027-01-02T21:00");
  });

  it("last as long as they say also over a change of the clocks", () => {
    expect(told([windows({ allow: [nightly] })], "2026-03-28T21:00Z")).toBe("open until 2026-03-29T03:00");
    expect(told([windows({ allow: [nightly] })], "2026-10-24T20:00Z")).toBe("open until 2026-10-25T02:00");
  });

  it("that follow each other without a gap are one", () => {
    const allDay: SyncWindow = { timeZone: "UTC", schedule: "0 * * * *", durationMs: hourMs };
    expect(judgeWindows([windows({ allow: [allDay] })], at("2026-11-25T12:30Z")).isOpen).toBe(true);
    expect(told([windows({ allow: [{ timeZone: "UTC", schedule: "0 8,9 * * *", durationMs: hourMs }] })], "2026-11-25T08:30Z")).toBe(
      "open until 2026-11-25T10:00",
    );
  });

  it("says when it changes, and it changes then and not before", () => {
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
    const window = fc.record({
      timeZone: zone,
      schedule: fc
        .tuple(fc.integer({ min: 0, max: 59 }), fc.integer({ min: 0, max: 23 }), fc.constantFrom("*", "1-5", "sun"))
        .map(([m, h, d]) => `${m} ${h} * * ${d}`),
      durationMs: fc.integer({ min: 1, max: 40 }).map((hours) => hours * hourMs),
    });
    const block = fc.record({ allow: fc.array(window, { maxLength: 2 }), deny: fc.array(window, { maxLength: 2 }) }).map(windows);
    fc.assert(
      fc.property(fc.array(block, { maxLength: 2 }), fc.integer({ min: at("2024-01-01T00:00Z"), max: at("2028-01-01T00:00Z") }), (all, time) => {
        const { isOpen, until } = judgeWindows(all, time);
        if (until === undefined) return;
        expect(until).toBeGreaterThan(time);
        expect(judgeWindows(all, until - 1).isOpen).toBe(isOpen);
        const after = judgeWindows(all, until);
        // Windows that never change again in sight give the last change that was looked at.
        if (after.isOpen === isOpen) expect(until - time).toBeGreaterThan(24 * hourMs);
      }),
      { numRuns: 100, verbose: true },
    );
  });
});
