import { describe, expect, it } from "vitest";
import { KeyedQueue } from "./keyed-queue.ts";

describe("the keyed queue", () => {
  const gate = () => Promise.withResolvers<void>();

  it("works on a key once, however often it was added meanwhile, and once more when it was added during the work", async () => {
    const worked: string[] = [];
    const first = gate();
    const done = gate();
    const queue = new KeyedQueue(1, async (key) => {
      worked.push(key);
      if (worked.length === 1) await first.promise;
      if (worked.length === 3) done.resolve();
    });
    queue.add("a");
    for (let i = 0; i < 10; i++) {
      queue.add("a");
      queue.add("b");
    }
    first.resolve();
    await done.promise;
    expect(worked.sort()).toEqual(["a", "a", "b"]);
  });

  it("takes urgent keys first and never works on one key twice at once", async () => {
    const worked: string[] = [];
    const hold = gate();
    const done = gate();
    let running = 0;
    const queue = new KeyedQueue(1, async (key) => {
      running += 1;
      expect(running).toBe(1);
      worked.push(key);
      if (key === "blocker") await hold.promise;
      running -= 1;
      if (worked.length === 4) done.resolve();
    });
    queue.add("blocker");
    queue.add("one");
    queue.add("two");
    queue.add("two", { urgent: true });
    queue.add("three", { urgent: true });
    hold.resolve();
    await done.promise;
    expect(worked).toEqual(["blocker", "two", "three", "one"]);
  });

  it("waits until a key is due, and takes the earliest time it was given", async () => {
    const started = performance.now();
    const done = gate();
    const queue = new KeyedQueue(1, () => {
      done.resolve();
      return Promise.resolve();
    });
    queue.add("later", { delayMs: 60_000 });
    queue.add("later", { delayMs: 30 });
    await done.promise;
    expect(performance.now() - started).toBeGreaterThanOrEqual(28);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("stops after the work that runs, and takes nothing more", async () => {
    const hold = gate();
    const worked: string[] = [];
    const queue = new KeyedQueue(2, async (key) => {
      worked.push(key);
      await hold.promise;
    });
    queue.add("a");
    queue.add("b", { delayMs: 10_000 });
    const stopping = queue.stop();
    queue.add("c");
    hold.resolve();
    await stopping;
    expect(worked).toEqual(["a"]);
    expect(queue.size).toBe(0);
  });
});
