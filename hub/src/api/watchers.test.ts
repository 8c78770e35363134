import type { EventRow } from "@flotilla/proto/rest/contract";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Watchers } from "./watchers.ts";

describe("who watches a hub whose database lost its newest commits", () => {
  /** Ids of the events that the database has. */
  let ids: number[];
  let watchers: Watchers;
  let written: string[];
  const sink = { unsentBytes: 0, write: (text: string) => void written.push(text), end: () => undefined };
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const told = async (): Promise<string[]> => {
    written = [];
    watchers.tell({ fleets: ["shop"], clusters: [] });
    await vi.advanceTimersByTimeAsync(1_000);
    return written;
  };
  const sentIds = (frames: readonly string[]): string[] => frames.flatMap((text) => /^id: (\d+)\nevent: event/.exec(text)?.[1] ?? []);
  const isWhole = (text: string): boolean => text.includes('"fleets":[],"clusters":[]');

  beforeEach(() => {
    vi.useFakeTimers();
    [ids, written] = [[1, 2, 3, 4, 5], []];
    const store = {
      readChangeMarks: async () => ({ eventId: ids.at(-1) ?? 0, version: 10, connected: 1 }),
      readEventsAfter: async (after: number) => ids.filter((id) => id > after).map((id) => ({ id, fleet: "shop" }) as EventRow),
    };
    watchers = new Watchers(store, log);
  });
  afterEach(() => {
    watchers.close();
    vi.useRealTimers();
  });

  it("is sent what happens after it, under ids that it had seen, and told that anything may have changed", async () => {
    await watchers.add(sink, { fleet: undefined, resumeAfter: undefined });
    await told();
    ids = [1, 2];
    expect((await told()).some(isWhole)).toBe(true);
    ids = [1, 2, 3];
    const after = await told();
    expect(sentIds(after)).toEqual(["3"]);
    expect(after.some(isWhole)).toBe(false);
  });

  it("may come back with an id that was lost", async () => {
    ids = [1, 2];
    await watchers.add(sink, { fleet: undefined, resumeAfter: 5 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(written.some(isWhole)).toBe(true);
    ids = [1, 2, 3];
    expect(sentIds(await told())).toEqual(["3"]);
  });

  it("loses nothing when it comes back with an id that only another replica has sent", async () => {
    await watchers.add({ ...sink, write: () => undefined }, { fleet: undefined, resumeAfter: undefined });
    ids = [1, 2, 3, 4, 5, 6, 7];
    await watchers.add(sink, { fleet: undefined, resumeAfter: 6 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sentIds(written)).toEqual(["7"]);
  });
});
