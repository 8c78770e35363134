import { Health, SyncState, type ReportEnvelope } from "@flotilla/proto/gen/report";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { unguarded } from "../domain/guard.ts";
import { nothingIgnored } from "../domain/ignore.ts";
import { silentLog } from "../log.ts";
import { FleetReporter } from "./fleet-reporter.ts";
import { type FleetRun, newFleetRun } from "./fleet-run.ts";
import type { BundlePolicy } from "./read-desired.ts";
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

  describe("to a hub that takes less than all bundles", () => {
    function reporterOfBundles(names: readonly string[], takesChangedBundles = true) {
      const run = newFleetRun("shop");
      const key = (name: string) => `/ConfigMap/shop/${name}`;
      const setBundles = (bundles: readonly string[]) => {
        for (const name of bundles)
          if (!run.objects.has(key(name)))
            run.objects.set(key(name), trackObject("shop", key(name), { group: "", kind: "ConfigMap", namespace: "shop", name }, "v1", name));
        const policies = bundles.map((name): [string, BundlePolicy] => [name, { name, digest: `d-${name}`, healthTimeoutMs: 60_000 } as BundlePolicy]);
        run.desired = { ...run.desired, bundles: new Map(policies) };
      };
      setBundles(names);
      const disk = { refuses: "" };
      const told: { names: string[]; objects: number; changedOnly: boolean }[] = [];
      const record = async (report: ReportEnvelope["report"]) => {
        if (report.case !== "fleet") return 1n;
        const { bundles, objects, changedBundlesOnly } = report.value;
        if (disk.refuses === `${told.length}`) throw new Error("the disk is full");
        told.push({ names: bundles.map(({ name }) => name), objects: objects.length, changedOnly: changedBundlesOnly });
        return 1n;
      };
      const reporter = new FleetReporter(
        run,
        { record },
        silentLog,
        () => undefined,
        () => takesChangedBundles,
      );
      const note = (name: string, text: string) => {
        const object = run.objects.get(key(name));
        if (object) object.note = text;
        reporter.touch(key(name));
      };
      return { reporter, run, setBundles, note, told, disk };
    }

    it("names all at first, and then those that changed", async () => {
      const { reporter, note, told } = reporterOfBundles(["api", "db", "web"]);
      note("db", "late");
      await reporter.flush();
      note("web", "late");
      await reporter.flush();
      await reporter.flush();
      expect(told).toEqual([
        { names: ["api", "db", "web"], objects: 1, changedOnly: false },
        { names: ["web"], objects: 1, changedOnly: true },
      ]);
      reporter.close();
    });

    it("names all again when a bundle came or went, or the target is another", async () => {
      const { reporter, run, setBundles, note, told } = reporterOfBundles(["api", "db"]);
      await reporter.flush();
      setBundles(["api", "db", "web"]);
      await reporter.flush();
      setBundles(["api", "web"]);
      note("api", "late");
      await reporter.flush();
      run.target = { generation: 2n, revision: "r2", digest: "d2" } as FleetRun["target"];
      await reporter.flush();
      expect(told.map(({ names }) => names)).toEqual([
        ["api", "db"],
        ["api", "db", "web"],
        ["api", "web"],
        ["api", "web"],
      ]);
      expect(told.filter(({ changedOnly }) => changedOnly)).toEqual([]);
      reporter.close();
    });

    it("names all after a report that could not be recorded, and does not count a bundle as told that came back meanwhile", async () => {
      const { reporter, note, told, disk } = reporterOfBundles(["api", "db"]);
      await reporter.flush();
      disk.refuses = "1";
      note("api", "late");
      await reporter.flush();
      disk.refuses = "";
      note("api", "");
      await reporter.flush();
      expect(told.map(({ names, changedOnly }) => ({ names, changedOnly }))).toEqual([
        { names: ["api", "db"], changedOnly: false },
        { names: ["api", "db"], changedOnly: false },
      ]);
      reporter.close();
    });

    it("names them once in a report of several parts, a snapshot's too", async () => {
      const many = reporterOfBundles(["api", "db"]);
      for (let said = 0; said < 450; said += 1) many.reporter.event("Applied", "something");
      await many.reporter.flush();
      expect(many.told.map(({ names, changedOnly }) => ({ names, changedOnly }))).toEqual([
        { names: ["api", "db"], changedOnly: false },
        { names: [], changedOnly: true },
        { names: [], changedOnly: true },
      ]);
      for (let made = 0; made < 600; made += 1) {
        const key = `/ConfigMap/shop/m-${made}`;
        many.run.objects.set(key, trackObject("shop", key, { group: "", kind: "ConfigMap", namespace: "shop", name: `m-${made}` }, "v1", "api"));
      }
      const parts = many.reporter.snapshot().map(({ bundles, changedBundlesOnly }) => ({ names: bundles.map(({ name }) => name), changedBundlesOnly }));
      expect(parts).toEqual([
        { names: ["api", "db"], changedBundlesOnly: false },
        { names: [], changedBundlesOnly: true },
      ]);
      many.reporter.close();
    });

    it("names all each time to a hub that does not take less", async () => {
      const { reporter, note, told } = reporterOfBundles(["api", "db"], false);
      await reporter.flush();
      note("api", "late");
      for (let said = 0; said < 201; said += 1) reporter.event("Applied", "something");
      await reporter.flush();
      expect(told.map(({ names }) => names)).toEqual([
        ["api", "db"],
        ["api", "db"],
        ["api", "db"],
      ]);
      expect(told.some(({ changedOnly }) => changedOnly)).toBe(false);
      reporter.close();
    });
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
