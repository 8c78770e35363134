import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { ClusterEventSchema, FleetReportSchema, ReportEnvelopeSchema, SnapshotPartSchema } from "@flotilla/proto/gen/report";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLog } from "../log.ts";
import { openOutbox, type Outbox, type Report } from "./outbox.ts";

let dir: string;
const opened: Outbox[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "flotilla-outbox-"));
});

afterEach(async () => {
  for (const outbox of opened.splice(0)) await outbox.close();
  await rm(dir, { recursive: true });
});

async function openIn(folder = dir, maxBytes = 64 * 1024): Promise<Outbox> {
  const outbox = await openOutbox({ dir: folder, cluster: "berlin-1", maxBytes, log: silentLog });
  opened.push(outbox);
  return outbox;
}

const fleet = (name: string, events = 0): Report => ({
  case: "fleet",
  value: create(FleetReportSchema, {
    fleet: "shop",
    revision: name,
    events: Array.from({ length: events }, () => create(ClusterEventSchema, { reason: "Applied" })),
  }),
});

const snapshot = (): Report => ({ case: "snapshot", value: create(SnapshotPartSchema, { snapshotId: "s", part: 0, parts: 1, fleets: [] }) });

interface Held {
  first: number;
  seq: number;
  text: string;
}

/** Everything that the outbox would publish. */
async function heldIn(outbox: Outbox, from = outbox.watermark + 1n): Promise<Held[]> {
  const held: Held[] = [];
  for (let next = from; ;) {
    const records = await outbox.read(next);
    if (records.length === 0) return held;
    for (const { envelope, seq } of records) {
      const { report, firstSeq, epoch, cluster, seq: said } = fromBinary(ReportEnvelopeSchema, envelope);
      expect({ epoch, cluster, said }).toEqual({ epoch: outbox.epoch, cluster: "berlin-1", said: seq });
      held.push({
        first: Number(firstSeq),
        seq: Number(seq),
        text:
          report.case === "fleet" ? report.value.revision : report.case === "gap" ? `gap of ${report.value.count}: ${report.value.reason}` : `${report.case}`,
      });
      next = seq + 1n;
    }
  }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe("the outbox", () => {
  it("holds reports in order until the hub has them, also over a restart", async () => {
    const outbox = await openIn();
    await Promise.all(["a", "b", "c"].map((name) => outbox.record(fleet(name), "00-trace")));
    expect((await heldIn(outbox)).map(({ seq, text }) => `${seq}${text}`)).toEqual(["1a", "2b", "3c"]);
    expect((await outbox.read(1n))[0]!.traceparent).toBe("00-trace");
    await outbox.acknowledge({ epoch: outbox.epoch, seq: 2n });
    await outbox.close();
    const again = await openIn();
    expect(again.epoch).toBe(outbox.epoch);
    expect(again.newestSeq).toBe(3n);
    await again.acknowledge({ epoch: again.epoch, seq: 2n });
    expect(await again.record(fleet("d"))).toBe(4n);
    expect((await heldIn(again)).map(({ text }) => text)).toEqual(["c", "d"]);
    expect(again.oldestSeq).toBe(3n);
  });

  it("begins a new epoch and wants a snapshot when it is new, lost or damaged", async () => {
    const outbox = await openIn();
    let asked = 0;
    outbox.onSnapshotNeeded(() => (asked += 1));
    await nextTurn();
    expect(asked).toBe(1);
    for (let count = 0; count < 200; count += 1) await outbox.record(fleet(`r${count}`.padEnd(200)));
    await outbox.close();
    const first = (await readdir(dir)).filter((name) => name.endsWith(".log")).sort()[0]!;
    const bytes = await readFile(join(dir, first));
    bytes[500]! ^= 1;
    await writeFile(join(dir, first), bytes);
    const again = await openIn();
    expect(again.epoch).not.toBe(outbox.epoch);
    expect(again.newestSeq).toBe(0n);
    again.onSnapshotNeeded(() => (asked += 1));
    await nextTurn();
    expect(asked).toBe(2);
    await again.record(snapshot());
    await again.close();
    (await openIn()).onSnapshotNeeded(() => (asked += 1));
    await nextTurn();
    expect(asked).toBe(2);
  });

  it("wants a snapshot when the process before died: what it had not recorded yet nobody else will say", async () => {
    const outbox = await openIn();
    await outbox.record(snapshot());
    let wanted = 0;
    const dead = await mkdtemp(join(tmpdir(), "flotilla-outbox-"));
    // A file that is still being written may be gone before it is copied; whoever opens the folder leaves it alone.
    await cp(dir, dead, { recursive: true, filter: (path) => !path.endsWith(".new") });
    (await openIn(dead)).onSnapshotNeeded(() => (wanted += 1));
    await nextTurn();
    expect(wanted).toBe(1);
    await outbox.close();
    const again = await openIn();
    again.onSnapshotNeeded(() => (wanted += 1));
    await nextTurn();
    expect(wanted).toBe(1);
    await rm(dead, { recursive: true });
  });

  it("makes one gap of what does not fit, counts its events, and wants a snapshot once the hub has the gap (fault 17)", async () => {
    const outbox = await openIn(dir, 32 * 1024);
    await outbox.record(snapshot());
    await outbox.acknowledge({ epoch: outbox.epoch, seq: 1n });
    let asked = 0;
    outbox.onSnapshotNeeded(() => (asked += 1));
    for (let count = 0; count < 400; count += 1) await outbox.record(fleet(`r${count}`.padEnd(200), 1));
    await nextTurn();
    expect(asked).toBe(0);
    const size = async () => (await Promise.all((await readdir(dir)).map((name) => stat(join(dir, name))))).reduce((sum, file) => sum + file.size, 0);
    expect(await size()).toBeLessThan(48 * 1024);
    const held = await heldIn(outbox);
    const [gap, ...rest] = held;
    expect(gap).toMatchObject({ first: 2, text: `gap of ${gap!.seq - 1}: the outbox was full; ${gap!.seq - 1} events are lost` });
    expect(rest.map(({ seq }) => seq)).toEqual(Array.from({ length: rest.length }, (_, index) => gap!.seq + 1 + index));
    expect(rest.at(-1)!.seq).toBe(401);
    await outbox.close();
    const again = await openIn(dir, 32 * 1024);
    again.onSnapshotNeeded(() => (asked += 1));
    await again.acknowledge({ epoch: again.epoch, seq: 1n });
    expect((await heldIn(again)).map(({ first, seq }) => [first, seq])).toEqual(held.map(({ first, seq }) => [first, seq]));
    await nextTurn();
    expect(asked).toBe(0);
    await again.acknowledge({ epoch: again.epoch, seq: BigInt(gap!.seq) });
    await nextTurn();
    expect(asked).toBe(1);
    expect((await heldIn(again)).map(({ seq }) => seq)).toEqual(rest.map(({ seq }) => seq));
  });

  it("stands in with a gap for what a hub that was restored from a backup asks for", async () => {
    const outbox = await openIn(dir, 32 * 1024);
    for (let count = 0; count < 100; count += 1) await outbox.record(fleet(`r${count}`.padEnd(200)));
    await outbox.acknowledge({ epoch: outbox.epoch, seq: 90n });
    const again: boolean[] = [];
    outbox.onWatermark((wants) => again.push(wants));
    await outbox.acknowledge({ epoch: outbox.epoch, seq: 5n });
    expect(again).toEqual([true]);
    const [gap, ...rest] = await heldIn(outbox);
    expect(gap!.first).toBe(6);
    expect(rest[0]!.seq).toBe(gap!.seq + 1);
    expect(rest.at(-1)!.seq).toBe(100);
  });

  it("begins a new epoch when the hub knows more than it does", async () => {
    const outbox = await openIn();
    await outbox.record(fleet("a"));
    const { epoch } = outbox;
    expect(await outbox.acknowledge({ epoch, seq: 9n })).toBe(true);
    expect(outbox.epoch).not.toBe(epoch);
    expect(await outbox.record(fleet("b"))).toBe(1n);
    expect((await heldIn(outbox)).map(({ text }) => text)).toEqual(["b"]);
    expect(await outbox.acknowledge({ epoch, seq: 1n })).toBe(false);
    expect(outbox.watermark).toBe(0n);
  });

  it("refuses a report that one message cannot take, and goes on", async () => {
    const outbox = await openIn();
    await expect(outbox.record(fleet("x".repeat(1_000_000)))).rejects.toMatchObject({ code: "ReportTooLarge" });
    expect(await outbox.record(fleet("a"))).toBe(1n);
    await outbox.close();
    await expect(outbox.record(fleet("b"))).rejects.toMatchObject({ code: "OutboxClosed" });
  });

  it("cuts what was being written when the process died, at whatever byte, and loses nothing before it", async () => {
    const outbox = await openIn();
    const ends: number[] = [];
    const file = join(
      dir,
      (await readdir(dir)).find((name) => name.endsWith(".log"))!,
    );
    for (const name of ["a", "bb", "ccc", "dddd"]) {
      await outbox.record(fleet(name));
      ends.push((await stat(file)).size);
    }
    await outbox.close();
    const size = ends.at(-1)!;
    for (let cut = size; cut >= 32; cut -= 1) {
      const copy = await mkdtemp(join(tmpdir(), "flotilla-outbox-cut-"));
      await cp(dir, copy, { recursive: true });
      await truncate(join(copy, file.slice(dir.length + 1)), cut);
      const cutOutbox = await openIn(copy);
      const whole = ends.filter((end) => end <= cut).length;
      expect(cutOutbox.epoch).toBe(outbox.epoch);
      expect(cutOutbox.newestSeq).toBe(BigInt(whole));
      expect(await cutOutbox.record(fleet("next"))).toBe(BigInt(whole + 1));
      expect((await heldIn(cutOutbox)).map(({ text }) => text)).toEqual([..."a bb ccc dddd".split(" ").slice(0, whole), "next"]);
      await cutOutbox.close();
      await rm(copy, { recursive: true });
    }
  });

  it("behaves as its model: whatever happens, all that is neither committed nor in a gap is held, in order (fault 17)", { timeout: 60_000 }, async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ act: fc.constant("record" as const), bytes: fc.nat(1_500), events: fc.nat(3), count: fc.integer({ min: 1, max: 6 }) }),
      },
      { weight: 3, arbitrary: fc.record({ act: fc.constant("commit" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }) },
      { weight: 2, arbitrary: fc.record({ act: fc.constant("restart" as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const folder = await mkdtemp(join(tmpdir(), "flotilla-outbox-model-"));
        let outbox = await openIn(folder, 24 * 1024);
        let recorded = 0;
        let committed = 0;
        for (const one of steps) {
          if (one.act === "record") {
            await Promise.all(
              Array.from({ length: one.count }, (_, index) => outbox.record(fleet(`${recorded + index + 1}:`.padEnd(one.bytes, "x"), one.events))),
            );
            recorded += one.count;
          } else if (one.act === "commit") {
            const held = await heldIn(outbox);
            // The hub takes whole reports, in order, by its rule.
            for (const { first, seq } of held.slice(0, Math.ceil(held.length * one.part))) {
              expect(first).toBeLessThanOrEqual(committed + 1);
              expect(seq).toBeGreaterThan(committed);
              committed = seq;
            }
            await outbox.acknowledge({ epoch: outbox.epoch, seq: BigInt(committed) });
          } else {
            await outbox.close();
            outbox = await openIn(folder, 24 * 1024);
            await outbox.acknowledge({ epoch: outbox.epoch, seq: BigInt(committed) });
          }
          const held = await heldIn(outbox);
          let next = committed + 1;
          for (const { first, seq, text } of held) {
            expect(first).toBe(next);
            if (!text.startsWith("gap")) expect(text.split(":")[0]).toBe(String(seq));
            next = seq + 1;
          }
          expect(next).toBe(recorded + 1);
          expect(Number(outbox.newestSeq)).toBe(recorded);
        }
        await outbox.close();
        await rm(folder, { recursive: true });
      }),
      { numRuns: 40 },
    );
  });
});
