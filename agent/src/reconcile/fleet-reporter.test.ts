import { Health, SyncState, type ReportEnvelope } from "@flotilla/proto/gen/report";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { unguarded } from "../domain/guard.ts";
import { nothingIgnored } from "../domain/ignore.ts";
import { silentLog } from "../log.ts";
import { FleetReporter } from "./fleet-reporter.ts";
import { newFleetRun } from "./fleet-run.ts";
import { severityCode } from "./report-words.ts";
import { trackObject } from "./tracked-object.ts";

function reporterOfOne() {
  const run = newFleetRun("shop");
  const key = "/ConfigMap/shop/settings";
  const object = trackObject("shop", key, { group: "", kind: "ConfigMap", namespace: "shop", name: "settings" }, "v1", "web");
  run.objects.set(key, object);
  const told: string[] = [];
  const record = async (report: ReportEnvelope["report"]) => {
    if (report.case === "fleet") told.push(...report.value.objects.map(({ message }) => message));
    return 1n;
  };
  return { reporter: new FleetReporter(run, { record }, silentLog, () => undefined), object, key, told };
}

const anySight = { uid: "u", resourceVersion: "1", ignored: nothingIgnored, owned: "", isShared: false, stage: 0, guard: unguarded };

/** Objects that have been applied, whose health is turned all at once. */
function reporterOfMany(count: number) {
  const run = newFleetRun("shop");
  const keys = Array.from({ length: count }, (_, i) => `/ConfigMap/shop/c-${i}`);
  for (const key of keys) {
    const object = trackObject("shop", key, { group: "", kind: "ConfigMap", namespace: "shop", name: key }, "v1", "web");
    // What is in Git no more would not count as ill.
    object.isHook = true;
    run.objects.set(key, object);
  }
  const told: Health[] = [];
  const sums: number[] = [];
  const disk = { isFull: false };
  const record = async (report: ReportEnvelope["report"]) => {
    if (disk.isFull) throw new Error("the disk is full");
    if (report.case !== "fleet") return 1n;
    told.push(...report.value.objects.map(({ health }) => health));
    sums.push(report.value.summary?.healthy ?? -1);
    return 1n;
  };
  const reporter = new FleetReporter(run, { record }, silentLog, () => undefined);
  const turnSome = async (from: number, of: number, health: "Current" | "InProgress" | "Failed", message = "") => {
    for (const key of keys.slice(from, from + of)) {
      const object = run.objects.get(key);
      if (!object) continue;
      object.live = { ...anySight, verdict: { health, message } };
      // Its message, as long as it is not in Git.
      object.note = message;
      reporter.touch(key);
    }
    await reporter.flush();
  };
  const turn = (health: "Current" | "InProgress" | "Failed", message = "", of = count) => turnSome(0, of, health, message);
  return { reporter, told, sums, turn, turnSome, disk };
}

describe("a fleet's reporter", () => {
  it("counts a snapshot as told: a change that goes back before the next report is told then", async () => {
    const { reporter, object, key, told } = reporterOfOne();
    object.note = "as ever";
    reporter.touch(key);
    await reporter.flush();
    object.note = "for a moment";
    reporter.touch(key);
    const [part] = reporter.snapshot();
    expect(part?.objects).toMatchObject([{ message: "for a moment", sync: SyncState.OUT_OF_SYNC }]);
    object.note = "as ever";
    await reporter.flush();
    expect(told).toEqual(["as ever", "as ever"]);
  });

  it("tells all again of which a snapshot could not be recorded", async () => {
    const { reporter, object, key, told } = reporterOfOne();
    object.note = "as ever";
    reporter.touch(key);
    reporter.snapshot();
    reporter.tellAgain();
    await reporter.flush();
    expect(told).toEqual(["as ever"]);
  });

  it("tells quickly what happens now and then, and four times a second what goes on and on, all of it", async () => {
    vi.useFakeTimers();
    try {
      const seen: number[] = [];
      const record = async (report: ReportEnvelope["report"]) => {
        if (report.case === "fleet") seen.push(report.value.events.length);
        return 1n;
      };
      const reporter = new FleetReporter(newFleetRun("shop"), { record }, silentLog, () => undefined);
      const say = () => reporter.event("Applied", "something");
      say();
      await vi.advanceTimersByTimeAsync(60);
      expect(seen).toEqual([1]);
      for (let step = 0; step < 1_000; step++) {
        say();
        await vi.advanceTimersByTimeAsync(10);
      }
      await vi.advanceTimersByTimeAsync(300);
      // Ten seconds: the first few in a row, then forty.
      expect(seen.length).toBeGreaterThan(40);
      expect(seen.length).toBeLessThan(52);
      expect(seen.reduce((sum, count) => sum + count, 0)).toBe(1_001);
      await vi.advanceTimersByTimeAsync(3_000);
      const before = seen.length;
      say();
      await vi.advanceTimersByTimeAsync(60);
      expect(seen.length).toBe(before + 1);
      reporter.close();
    } finally {
      vi.useRealTimers();
    }
  });

  describe("while a plan is carried out", () => {
    beforeEach(() => vi.useFakeTimers());
    afterEach(() => vi.useRealTimers());

    /** A plan that changes something every 50 ms; gives when reports were made, in ms since it began. */
    async function planOf(seconds: number, within: (elapsedMs: number, reporter: FleetReporter) => void = () => undefined) {
      const [began, times, warnings]: [number, number[], number[]] = [performance.now(), [], []];
      const record = async (report: ReportEnvelope["report"]) => {
        if (report.case !== "fleet") return 1n;
        times.push(performance.now() - began);
        if (report.value.events.some(({ severity }) => severity === severityCode.warning)) warnings.push(performance.now() - began);
        return 1n;
      };
      const reporter = new FleetReporter(newFleetRun("shop"), { record }, silentLog, () => undefined);
      reporter.planBegins();
      for (let elapsed = 0; elapsed < seconds * 1_000; elapsed += 50) {
        reporter.event("Applied", "something");
        within(elapsed, reporter);
        await vi.advanceTimersByTimeAsync(50);
      }
      return { reporter, times, warnings };
    }

    it("tells how far it is twice a second at first, and every five seconds of one that takes minutes", async () => {
      const { reporter, times } = await planOf(120);
      expect(times.filter((at) => at < 2_100)).toHaveLength(4);
      expect(times.length).toBeGreaterThan(30);
      expect(times.length).toBeLessThan(40);
      const waits = times.map((at, index) => at - (times[index - 1] ?? 0));
      expect(Math.max(...waits)).toBeLessThan(5_100);
      reporter.close();
    });

    it("tells within half a second what changes now and then in a long one, as where a bundle waits for another's health", async () => {
      const { reporter, times } = await planOf(1);
      await vi.advanceTimersByTimeAsync(59_000);
      const told = times.length;
      reporter.event("HealthChanged", "it has come up at last");
      await vi.advanceTimersByTimeAsync(510);
      expect(times).toHaveLength(told + 1);
      reporter.close();
    });

    it("tells its end at once, however long it took", async () => {
      const { reporter, times } = await planOf(61);
      const told = times.length;
      reporter.planEnds();
      await vi.advanceTimersByTimeAsync(60);
      expect(times).toHaveLength(told + 1);
      reporter.close();
    });

    it("tells within half a second what went wrong in a long one, and is not made to hurry by all that goes wrong", async () => {
      const { reporter, warnings } = await planOf(63, (elapsed, to) => elapsed >= 61_000 && to.event("ApplyFailed", "refused", { warning: true }));
      expect(warnings).toEqual([61_500, 62_000, 62_500, 63_000]);
      reporter.close();
    });
  });

  describe("in a storm", () => {
    beforeEach(() => vi.useFakeTimers());
    afterEach(() => vi.useRealTimers());

    it("tells the sum at once, and nothing of objects that go up and come back", async () => {
      const { reporter, told, sums, turn } = reporterOfMany(500);
      await turn("Current");
      expect(told.splice(0)).toHaveLength(500);
      for (let step = 0; step < 9; step++) {
        await turn("InProgress", `${step} of 9`);
        await vi.advanceTimersByTimeAsync(1_000);
      }
      expect(told).toEqual([]);
      expect(sums.at(-1)).toBe(0);
      expect(reporter.isQuiet).toBe(false);
      await turn("Current");
      expect(sums.at(-1)).toBe(500);
      expect(reporter.isQuiet).toBe(true);
      await vi.advanceTimersByTimeAsync(120_000);
      expect(told).toEqual([]);
      reporter.close();
    });

    it("tells the last word of each object within half a minute of the last change", async () => {
      const { reporter, told, turn } = reporterOfMany(500);
      await turn("Current");
      for (let step = 0; step < 20; step++) {
        await turn("InProgress", `${step} of 20`);
        await vi.advanceTimersByTimeAsync(2_000);
      }
      expect(told.splice(0)).toHaveLength(500);
      await vi.advanceTimersByTimeAsync(28_000);
      expect(told).toHaveLength(500);
      expect(reporter.isQuiet).toBe(true);
      reporter.close();
    });

    it("tells each object every two minutes where all of them change every 15 s, a few at a time", async () => {
      const { reporter, told, turn, turnSome } = reporterOfMany(500);
      await turn("Current");
      told.length = 0;
      // A hundredth of the objects every 150 ms, for ten minutes: forty changes of each.
      for (let turned = 0; turned < 40 * 500; turned += 5) {
        await turnSome(turned % 500, 5, "InProgress", `change ${turned}`);
        await vi.advanceTimersByTimeAsync(150);
      }
      // Those that made it a storm were told at once.
      expect(told.length).toBeGreaterThan(4 * 500);
      expect(told.length).toBeLessThan(5 * 500 + 100);
      reporter.close();
    });

    it("tells each object every two minutes where all of them change every 15 s, all at once", async () => {
      const { reporter, told, turn } = reporterOfMany(500);
      await turn("Current");
      told.length = 0;
      for (let step = 0; step < 40; step++) {
        await turn("InProgress", `${step}`);
        await vi.advanceTimersByTimeAsync(15_000);
      }
      expect(told.length).toBeGreaterThan(3 * 500);
      expect(told.length).toBeLessThan(6 * 500);
      reporter.close();
    });

    it("lets no object wait for longer than two minutes, though all others change with it", async () => {
      const { reporter, told, turn } = reporterOfMany(200);
      await turn("Current");
      told.length = 0;
      for (let step = 0; step < 119; step++) {
        await turn("InProgress", `${step}`);
        await vi.advanceTimersByTimeAsync(1_000);
      }
      expect(told).toEqual([]);
      await turn("InProgress", "119");
      await vi.advanceTimersByTimeAsync(1_000);
      expect(told).toHaveLength(200);
      reporter.close();
    });

    it("tells at once what is broken, and, when it is calm, what is of a few", async () => {
      const { reporter, told, turn } = reporterOfMany(300);
      await turn("Current");
      told.length = 0;
      await turn("InProgress", "on its way");
      expect(told).toEqual([]);
      await turn("Failed", "broken", 3);
      expect(told.splice(0)).toEqual([Health.FAILED, Health.FAILED, Health.FAILED]);
      await vi.advanceTimersByTimeAsync(20_100);
      expect(told.splice(0)).toHaveLength(297);
      await turn("Current", "", 2);
      expect(told).toEqual([Health.CURRENT, Health.CURRENT]);
      reporter.close();
    });

    it("tells what waited as soon as there is room again, when the disk was full at the end of the storm", async () => {
      const { reporter, told, turn, disk } = reporterOfMany(300);
      await turn("Current");
      told.length = 0;
      await turn("InProgress", "on its way");
      disk.isFull = true;
      await vi.advanceTimersByTimeAsync(20_100);
      expect(told).toEqual([]);
      expect(reporter.isQuiet).toBe(false);
      disk.isFull = false;
      await vi.advanceTimersByTimeAsync(2_000);
      expect(told).toHaveLength(300);
      expect(reporter.isQuiet).toBe(true);
      reporter.close();
    });

    it("says it all when the process ends", async () => {
      const { reporter, told, turn } = reporterOfMany(300);
      await turn("Current");
      told.length = 0;
      await turn("InProgress", "on its way");
      await reporter.flush(true);
      expect(told).toHaveLength(300);
      expect(reporter.isQuiet).toBe(true);
      reporter.close();
    });
  });
});
