import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isTimeZone, lastStart, localInstant, nextStart, offsetAt, parseSchedule, type Schedule } from "./schedule.ts";

const dayMs = 86_400_000;
const at = (text: string) => Date.parse(text);
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 16));
function schedule(text: string): Schedule {
  const parsed = parseSchedule(text);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.schedule;
}

describe("a schedule", () => {
  it.each([
    ["0 22 * * *", "UTC", "2026-11-25T00:00Z", "2026-11-25T22:00"],
    ["0 22 * * 1-5", "UTC", "2026-11-27T22:00Z", "2026-11-30T22:00"],
    ["*/15 8-9 * * mon", "UTC", "2026-11-23T08:44Z", "2026-11-23T08:45"],
    ["0 0 29 2 *", "UTC", "2026-01-01T00:00Z", "2028-02-29T00:00"],
    ["0 9 1 * mon", "UTC", "2026-11-25T00:00Z", "2026-11-30T09:00"],
    ["0 9 * jan,dec 7", "UTC", "2026-11-25T00:00Z", "2026-12-06T09:00"],
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T01:00"],
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30"],
    ["30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30"],
    ["0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", "2018-11-04T03:00"],
    ["15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", "2026-10-03T15:30"],
    ["0 0 * * *", "Pacific/Apia", "2011-12-29T20:00Z", "2011-12-30T10:00"],
  ])("%s in %s after %s starts at %s", (text, zone, after, expected) => {
    expect(iso(nextStart(schedule(text), zone, at(after)))).toBe(expected);
  });

  it("never starts on a day that does not exist", () => {
    expect(nextStart(schedule("0 0 31 2 *"), "UTC", at("2026-01-01T00:00Z"))).toBeUndefined();
  });

  it.each([
    ["0 22 * *", /five fields/],
    ["60 0 * * *", /'60' is not a minute: it takes 0 to 59/],
    ["0 0 * * funday", /not a day of the week/],
    ["5-1 0 * * *", /'5-1' is not a minute/],
    ["*/0 0 * * *", /not a minute/],
    ["0 0 0 * *", /not a day of the month/],
    ["@daily", /five fields/],
  ])("%s is refused", (text, message) => {
    const parsed = parseSchedule(text);
    expect(parsed.ok ? "" : parsed.message).toMatch(message);
  });

  it("has one start on every local day, also where clocks change, and finds it in both directions", () => {
    const zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"];
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.integer({ min: 0, max: 23 }),
        fc.integer({ min: 0, max: 59 }),
        fc.integer({ min: at("2020-01-01T00:00Z"), max: at("2030-01-01T00:00Z") }),
        (zone, hour, minute, from) => {
          const daily = schedule(`${minute} ${hour} * * *`);
          const next = nextStart(daily, zone, from) ?? Number.NaN;
          expect(next).toBeGreaterThan(from);
          expect(next - from).toBeLessThanOrEqual(dayMs + 3_600_000);
          expect(lastStart(daily, zone, next, 7 * dayMs)).toBe(next);
          expect(lastStart(daily, zone, next - 1, 7 * dayMs)).toBeLessThanOrEqual(from);
          const local = new Date(next + offsetAt(zone, next));
          const isShown = local.getUTCHours() === hour && local.getUTCMinutes() === minute;
          // Not shown: it was skipped, and this is the first moment after the gap.
          if (!isShown) expect(offsetAt(zone, next - 60_000)).not.toBe(offsetAt(zone, next));
          const second = nextStart(daily, zone, next) ?? Number.NaN;
          expect(new Date(second + offsetAt(zone, second)).getUTCDate()).not.toBe(local.getUTCDate());
        },
      ),
      { numRuns: 400, verbose: true },
    );
  });
});

describe("local times", () => {
  it("are read in their zone, and only when they exist in the calendar", () => {
    expect(iso(localInstant("Europe/Berlin", "2026-12-24T18:00"))).toBe("2026-12-24T17:00");
    expect(iso(localInstant("Europe/Berlin", "2026-03-29T02:30"))).toBe("2026-03-29T01:00");
    for (const wrong of ["2026-02-30T00:00", "2026-13-01T00:00", "2026-01-01", "tomorrow", "2026-01-01T25:00"])
      expect(localInstant("UTC", wrong)).toBeUndefined();
  });

  it("knows the zones of the IANA data base and no others", () => {
    expect(["Europe/Berlin", "UTC", "America/Argentina/Ushuaia"].every(isTimeZone)).toBe(true);
    expect(["Berlin", "Mars/Phobos", ""].some(isTimeZone)).toBe(false);
  });
});
