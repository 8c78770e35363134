import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { type Command, CommandSchema, EndGateCommandSchema, type GateCommand, GateCommandSchema, GateVerdict } from "@flotilla/proto/gen/link";
import { afterEach, expect, it } from "vitest";
import type { KubeClient } from "../cluster/kube-client.ts";
import { gateLimits } from "../limits.ts";
import { GateAnswers, type SuspensionOf } from "./answer-gates.ts";

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  server = undefined;
});

/** Metrics that are answered when the test says so. */
async function metrics(): Promise<{ address: string; open: ServerResponse[] }> {
  const open: ServerResponse[] = [];
  const started = createServer((_, response) => void open.push(response));
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${(started.address() as AddressInfo).port}`, open };
}
const good = JSON.stringify({ status: "success", data: { resultType: "matrix", result: [{ metric: {}, values: [[1, "0"]] }] } });

/** Asks of no API server. */
const noClient = {} as KubeClient;
const answers = (suspensionOf: SuspensionOf = () => undefined): GateAnswers => new GateAnswers(noClient, suspensionOf);
const command: Command = create(CommandSchema, { id: "c1" });
const metric = (address: string, fleet = "shop"): GateCommand =>
  create(GateCommandSchema, { fleet, gate: "errors", question: { case: "metric", value: { address, query: "errors", operator: "<", threshold: 1 } } });

it("asks a few at a time, and the others in their turn", async () => {
  const { address, open } = await metrics();
  const gates = answers();
  const all = Array.from({ length: gateLimits.atOnce + 2 }, () => gates.answer(command, metric(address)));
  await expect.poll(() => open.length).toBe(gateLimits.atOnce);
  open[0]?.end(good);
  await all[0];
  await expect.poll(() => open.length).toBe(gateLimits.atOnce + 1);
  open[1]?.end(good);
  await expect.poll(() => open.length).toBe(gateLimits.atOnce + 2);
  for (const response of open) response.end(good);
  expect((await Promise.all(all)).map(({ verdict }) => verdict)).toEqual(all.map(() => GateVerdict.PASSED));
});

it("asks nothing in a cluster where the fleet is suspended, and says by whom", async () => {
  const { address, open } = await metrics();
  const gates = answers((fleet) => (fleet === "shop" ? "suspended by ann: a migration" : undefined));
  expect(await gates.answer(command, metric(address))).toMatchObject({ verdict: GateVerdict.UNKNOWN, message: "suspended by ann: a migration" });
  expect(open).toEqual([]);
  const other = gates.answer(command, metric(address, "shed"));
  await expect.poll(() => open.length).toBe(1);
  open[0]?.end(good);
  expect(await other).toMatchObject({ verdict: GateVerdict.PASSED });
});

it("knows nothing of a kind of gate that came after it", async () => {
  expect(await answers().answer(command, create(GateCommandSchema, { fleet: "shop" }))).toMatchObject({
    verdict: GateVerdict.UNKNOWN,
    message: "this agent is too old for the gate: update it",
  });
});

it("ends what is open when the agent stops", async () => {
  const { address, open } = await metrics();
  const gates = answers();
  const asked = gates.answer(command, metric(address));
  await expect.poll(() => open.length).toBe(1);
  gates.stop();
  expect(await asked).toMatchObject({ verdict: GateVerdict.UNKNOWN, message: expect.stringContaining("the agent stops") });
});

/** An API server that makes each Job when the test says so, and whose Jobs never end. */
function slowJobs() {
  const done: string[] = [];
  const making: (() => void)[] = [];
  const client = {
    request: async ({ method }: { method: string }) => {
      if (method === "POST") await new Promise<void>((resolve) => making.push(resolve));
      done.push(method);
      return {};
    },
    json: async () => ({ apiVersion: "batch/v1", kind: "Job", metadata: { name: "gate-smoke", uid: "u1" }, spec: {}, status: { active: 1 } }),
  } as unknown as KubeClient;
  return { gates: new GateAnswers(client, () => undefined), done, making };
}
const smoke = create(GateCommandSchema, {
  fleet: "shop",
  gate: "smoke",
  question: { case: "job", value: { namespace: "shop", spec: Buffer.from("{}"), timeout: { seconds: 60n } } },
});
const endOf = (commandId: string) => create(EndGateCommandSchema, { commandId, gate: "smoke", namespace: "shop" });

it("deletes the Job that nobody waits for any more, after what was about to make it", async () => {
  const { gates, done, making } = slowJobs();
  const asked = gates.answer(command, smoke);
  await expect.poll(() => making.length).toBe(1);
  const ended = gates.end(endOf("c1"));
  making[0]?.();
  await ended;
  expect(await asked).toMatchObject({ verdict: GateVerdict.UNKNOWN, message: "nobody waits for it any more" });
  expect(done).toEqual(["POST", "DELETE"]);
});

it("deletes also the Job that an earlier process made", async () => {
  const { gates, done } = slowJobs();
  await gates.end(endOf("of-an-earlier-process"));
  expect(done).toEqual(["DELETE"]);
});

it("makes no Job for which nobody waits any more when its turn comes", async () => {
  const { gates, done, making } = slowJobs();
  const before = Array.from({ length: gateLimits.atOnce }, (_, index) => gates.answer(create(CommandSchema, { id: `before-${index}` }), smoke));
  const waiting = gates.answer(command, smoke);
  await expect.poll(() => making.length).toBe(gateLimits.atOnce);
  const ended = gates.end(endOf("c1"));
  for (const make of making) make();
  await gates.end(endOf("before-0"));
  await ended;
  expect(await waiting).toMatchObject({ verdict: GateVerdict.UNKNOWN, message: "nobody waits for it any more" });
  expect(done.filter((method) => method === "POST")).toHaveLength(gateLimits.atOnce);
  gates.stop();
  expect((await Promise.all(before)).at(-1)).toMatchObject({ message: "the agent stops" });
});
