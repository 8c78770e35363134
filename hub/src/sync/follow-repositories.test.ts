import { describe, expect, it, vi } from "vitest";
import { type FetchResult, type FollowedRepository, FollowHints, type FollowPorts, followRepositories } from "./follow-repositories.ts";
import { renderRetryMinMs } from "../limits.ts";
import { followedFleet } from "./fleet-for-tests.ts";
import type { FollowedFleet } from "./ports.ts";

const revision = "a".repeat(40);

function repository(id: string): FollowedRepository {
  return { id, url: `https://git.example.com/${id}.git`, pollIntervalMs: 5_000, lastFetchAt: null, failures: 0, wantedAt: null, wantedTraceparent: null };
}

const fleet = (name: string, more: Partial<FollowedFleet> = {}): FollowedFleet => followedFleet({ name, revision, seenRevision: revision, ...more });

function rig(ids: readonly string[], more: Partial<FollowPorts> = {}) {
  const stop = new AbortController();
  const hints = new FollowHints();
  const synced: string[] = [];
  const state = { repositories: ids.map(repository) };
  const ports: FollowPorts = {
    hold: (name, signal, work) => work({ name, holder: "test", fence: 1n }, signal),
    listRepositories: async () => state.repositories,
    readRepository: async (id) => state.repositories.find((row) => row.id === id),
    listFleets: async (id) => [fleet(`fleet-${id}`)],
    fetch: async (): Promise<FetchResult> => ({
      problem: undefined,
      found: new Map([["branch:main", { revision, tree: "", author: "", subject: "", committedAt: null, rewound: false }]]),
    }),
    saveFetchOutcome: async () => undefined,
    syncFleet: async (_repository, { fleet: { name } }) => void synced.push(name),
    advanceRollouts: (_lease, _id, held) => new Promise((resolve) => held.addEventListener("abort", () => resolve(), { once: true })),
    dropDeletedFleets: async () => undefined,
    nextDueAt: () => new Date(Date.now() + 3_600_000),
    report: () => undefined,
    ...more,
  };
  const done = followRepositories(ports, hints, stop.signal);
  return {
    synced,
    hints,
    state,
    async stop() {
      stop.abort();
      hints.wake();
      await done;
    },
  };
}

describe("following repositories", () => {
  it("places every fleet once when the lease comes, though Git has nothing new", async () => {
    const { synced, stop } = rig(["1", "2"]);
    await vi.waitFor(() => expect(synced.toSorted()).toEqual(["fleet-1", "fleet-2"]));
    await stop();
  });

  it("is not delayed by a repository whose server hangs", async () => {
    const hanging = Array.from({ length: 8 }, (_, index) => `hanging-${index}`);
    const { synced, stop } = rig([...hanging, "sound"], {
      fetch: async ({ id }, _refs, signal) => {
        if (id.startsWith("hanging")) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        return { problem: undefined, found: new Map() };
      },
    });
    await vi.waitFor(() => expect(synced).toContain("fleet-sound"));
    await stop();
  });

  it("places a fleet again as soon as clusters changed", async () => {
    const { synced, hints, stop } = rig(["1"]);
    await vi.waitFor(() => expect(synced).toHaveLength(1));
    hints.wantPlacement(["fleet-1"]);
    await vi.waitFor(() => expect(synced).toHaveLength(2));
    await stop();
  });

  it("looks again when it was told of a change after it had read what it works with", async () => {
    let deleting: "delete" | null = null;
    const seen: unknown[] = [];
    let during = (): void => undefined;
    const { hints, stop } = rig(["1"], {
      listFleets: async () => [fleet("fleet-1", { deleting })],
      fetch: async () => {
        during();
        return { problem: undefined, found: new Map() };
      },
      syncFleet: async (_repository, job) => void seen.push(job.fleet.deleting),
    });
    // Told while the first fetch is under way: the rows that its sync works with are older.
    during = () => {
      deleting = "delete";
      hints.wantPlacement(["fleet-1"]);
    };
    await vi.waitFor(() => expect(seen).toEqual([null, "delete"]));
    await stop();
  });

  it("tries a revision again whose render ran out of time, with a fetch of its own where the next is far away", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const begun = Date.now();
    const asked: boolean[] = [];
    const newer = "b".repeat(40);
    const late = fleet("fleet-1", { seenRevision: newer, problems: [{ code: "render-timeout", message: "helm did not end in time" }] });
    const found = { revision: newer, tree: "", author: "", subject: "", committedAt: null, rewound: false };
    const { hints, stop } = rig(["1"], {
      listFleets: async () => [late],
      fetch: async () => ({ problem: undefined, found: new Map([["branch:main", found]]) }),
      syncFleet: async (_repository, { tryAgain }) => void asked.push(tryAgain),
    });
    const tries = async (afterMs: number): Promise<number> => {
      const before = asked.length;
      vi.setSystemTime(begun + afterMs);
      hints.wantPlacement(["fleet-1"]);
      await vi.waitFor(() => expect(asked.length).toBeGreaterThan(before));
      return asked.filter(Boolean).length;
    };
    try {
      await vi.waitFor(() => expect(asked).toEqual([false]));
      expect(await tries(renderRetryMinMs - 1)).toBe(0);
      expect(await tries(renderRetryMinMs)).toBe(1);
      expect(await tries(renderRetryMinMs * 3 - 1)).toBe(1);
      expect(await tries(renderRetryMinMs * 3)).toBe(2);
    } finally {
      vi.useRealTimers();
      await stop();
    }
  });

  it("fetches at once when a webhook asked", async () => {
    let fetches = 0;
    const { hints, state, stop } = rig(["1"], {
      fetch: async () => {
        fetches += 1;
        state.repositories = state.repositories.map((row) => ({ ...row, wantedAt: null }));
        return { problem: undefined, found: new Map() };
      },
      nextDueAt: ({ wantedAt }) => (wantedAt === null ? new Date(Date.now() + 3_600_000) : new Date()),
    });
    await vi.waitFor(() => expect(fetches).toBe(1));
    state.repositories = [{ ...repository("1"), wantedAt: new Date() }];
    hints.wake();
    await vi.waitFor(() => expect(fetches).toBe(2));
    await stop();
  });

  it("tells each fleet of a repository that cannot be reached", async () => {
    const told: unknown[] = [];
    const { stop } = rig(["1"], {
      fetch: async () => ({ problem: { code: "unreachable", message: "no answer" }, found: new Map() }),
      syncFleet: async (_repository, { found }) => void told.push(found),
    });
    await vi.waitFor(() => expect(told[0]).toEqual([{ code: "unreachable", message: "no answer", ofSource: true }]));
    await stop();
  });

  it("goes on with other fleets when one cannot be synced, and tries that one again", async () => {
    let failures = 0;
    const seen: string[] = [];
    const { stop } = rig(["1"], {
      listFleets: async () => [fleet("broken"), fleet("sound")],
      syncFleet: async (_repository, { fleet: { name } }) => {
        seen.push(name);
        if (name === "broken" && (failures += 1) === 1) throw new Error("the store is away");
      },
    });
    await vi.waitFor(() => expect(seen).toEqual(["broken", "sound", "broken"]), { timeout: 8_000 });
    await stop();
  }, 15_000);
});
