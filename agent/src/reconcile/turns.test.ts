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

it("goes on when one fails", async () => {
  const turns = new Turns(1, 1);
  await expect(turns.take(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await turns.take(async () => "yes")).toBe("yes");
});
