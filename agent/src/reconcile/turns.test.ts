import { expect, it } from "vitest";
import { Turns } from "./turns.ts";

it("lets so many in at a time, in order, and refuses those for whom there is no room to wait", async () => {
  const turns = new Turns(2, 2);
  const ends: (() => void)[] = [];
  const begun: string[] = [];
  const act = (name: string) => turns.take(() => new Promise<string>((resolve) => (begun.push(name), ends.push(() => resolve(name)))));
  const [a, b, c, d] = [act("a"), act("b"), act("c"), act("d")];
  await expect(act("e")).rejects.toThrow("more than 2 wait");
  expect(begun).toEqual(["a", "b"]);
  ends[1]?.();
  expect(await b).toBe("b");
  await expect.poll(() => begun).toEqual(["a", "b", "c"]);
  ends[0]?.();
  ends[2]?.();
  expect(await Promise.all([a, c])).toEqual(["a", "c"]);
  await expect.poll(() => begun).toEqual(["a", "b", "c", "d"]);
  ends[3]?.();
  expect(await d).toBe("d");
});

it("sends away who has waited for too long, and lets the next one in all the same", async () => {
  const turns = new Turns(1, 2);
  let end: (() => void) | undefined;
  const first = turns.take(() => new Promise<void>((resolve) => (end = resolve)));
  let isActing = false;
  const late = turns.take(async () => void (isActing = true), 20);
  const patient = turns.take(async () => "in");
  await expect(late).rejects.toThrow("no turn within 0.02 s: 1 run in this cluster");
  end?.();
  await first;
  expect(await patient).toBe("in");
  expect(isActing).toBe(false);
  expect(await turns.take(async () => "again")).toBe("again");
});

it("gives a turn that ends to who waits, and not to who comes just then", async () => {
  const turns = new Turns(1, 2);
  let running = 0;
  let most = 0;
  const act = async (): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await Promise.resolve();
    running -= 1;
  };
  const first = turns.take(act);
  const second = turns.take(act);
  const third = first.then(() => turns.take(act));
  await Promise.all([first, second, third]);
  expect(most).toBe(1);
});

it("goes on when one fails", async () => {
  const turns = new Turns(1, 1);
  await expect(turns.take(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await turns.take(async () => "yes")).toBe("yes");
});
