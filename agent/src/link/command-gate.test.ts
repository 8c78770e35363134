import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { CommandSchema } from "@flotilla/proto/gen/link";
import { expect, it } from "vitest";
import { CommandGate } from "./command-gate.ts";

const command = (id: string, expiresInMs = 60_000) =>
  create(CommandSchema, { id, expiresAt: timestampFromMs(Date.now() + expiresInMs), kind: { case: "snapshot", value: {} } });

it("carries each command out once, answers again when it comes again, and not while it runs", async () => {
  const gate = new CommandGate();
  let runs = 0;
  let finish: () => void = () => undefined;
  const act = () => new Promise<void>((resolve) => ((runs += 1), (finish = resolve)));
  const first = gate.run(command("a"), act);
  expect(await gate.run(command("a"), act)).toBeUndefined();
  finish();
  expect(await first).toEqual({ error: "" });
  expect(await gate.run(command("a"), act)).toEqual({ error: "" });
  expect(runs).toBe(1);
});

it("answers with the failure, and keeps to it", async () => {
  const gate = new CommandGate();
  const fail = () => Promise.reject(new Error("no such fleet"));
  expect(await gate.run(command("a"), fail)).toEqual({ error: "no such fleet" });
  expect(await gate.run(command("a"), () => Promise.resolve())).toEqual({ error: "no such fleet" });
});

it("does nothing after a command's time", async () => {
  const gate = new CommandGate();
  expect(await gate.run(command("a", -1), () => expect.unreachable())).toMatchObject({ error: expect.stringContaining("expired") });
});
