import { create } from "@bufbuild/protobuf";
import { Health, ReportEnvelopeSchema, SyncState, type ReportEnvelope } from "@flotilla/proto/gen/report";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldDrift, type DriftEpisode } from "./drift-episodes.ts";
import { foldReports, type ClusterPosition, type ReceivedReport } from "./fold-report.ts";

const epoch = "aa";
const now = new Date("2026-01-01T00:00:00Z");
const start: ClusterPosition = { epoch, watermark: 0n, snapshot: null };

interface FleetSaying {
  readonly fleet?: string;
  readonly objects?: Readonly<Record<string, "fine" | "drifted" | "failed">>;
  readonly gone?: readonly string[];
  readonly removed?: boolean;
}

const fleetReport = ({ fleet = "shop", objects = {}, gone = [], removed = false }: FleetSaying, seq: number) => ({
  fleet,
  generation: 1n,
  revision: `r${seq}`,
  removed,
  summary: { sync: SyncState.SYNCED, health: Health.CURRENT, objects: seq },
  bundles: [{ name: `b${seq % 2}`, digest: `d${seq}`, sync: SyncState.SYNCED, health: Health.CURRENT }],
  changedBundlesOnly: seq % 3 !== 1,
  objects: Object.entries(objects).map(([name, state]) => ({
    id: { group: "", kind: "ConfigMap", namespace: "x", name },
    sync: state === "drifted" ? SyncState.OUT_OF_SYNC : SyncState.SYNCED,
    health: state === "failed" ? Health.FAILED : Health.CURRENT,
    drift: state === "drifted" ? [{ path: "/data/a", desired: "1", live: "2", manager: "kubectl" }] : [],
  })),
  gone: gone.map((name) => ({ group: "", kind: "ConfigMap", namespace: "x", name })),
  events: [{ reason: "Applied", message: `m${seq}` }],
});

function envelope(seq: number, report: object, firstSeq = seq): ReportEnvelope {
  return create(ReportEnvelopeSchema, {
    cluster: "berlin-1",
    epoch,
    seq: BigInt(seq),
    firstSeq: BigInt(firstSeq),
    recordedAt: { seconds: BigInt(1_767_225_600 + seq), nanos: 0 },
    report: report as never,
  });
}

const say = (seq: number, saying: FleetSaying = {}): ReceivedReport => ({
  kind: "report",
  envelope: envelope(seq, { case: "fleet", value: fleetReport(saying, seq) }),
});
const part = (seq: number, index: number, parts: number, saying: FleetSaying, fleets: readonly string[], id = "s1"): ReceivedReport => ({
  kind: "report",
  envelope: envelope(seq, { case: "snapshot", value: { snapshotId: id, part: index, parts, fleets, state: fleetReport(saying, seq) } }),
});
const gap = (seq: number, firstSeq: number): ReceivedReport => ({
  kind: "report",
  envelope: envelope(seq, { case: "gap", value: { count: BigInt(seq - firstSeq + 1), reason: "full" } }, firstSeq),
});

/** Rows as the store keeps them. */
interface Rows {
  position: ClusterPosition;
  readonly targets: Map<string, bigint>;
  /** Digests by fleet and name. */
  readonly bundles: Map<string, ReadonlyMap<string, string>>;
  readonly objects: Map<string, { readonly state: string; snapshotId: string | null }>;
  readonly drifts: Map<string, DriftEpisode[]>;
  readonly events: string[];
}

const emptyRows = (): Rows => ({ position: start, targets: new Map(), bundles: new Map(), objects: new Map(), drifts: new Map(), events: [] });

/** What hub/src/store/save-reports.ts does in SQL, in the same order. */
function apply(rows: Rows, received: readonly ReceivedReport[]): ReturnType<typeof foldReports> {
  const fold = foldReports(rows.position, received, now);
  rows.position = fold.position;
  const close = (key: string, at: Date): void => {
    const episodes = rows.drifts.get(key);
    if (episodes !== undefined)
      rows.drifts.set(key, foldDrift(undefined, []).concat(episodes.slice(0, -1), foldDrift(episodes.at(-1), [{ kind: "healed", at, by: "gone" }])));
  };
  for (const [name, fleet] of fold.fleets) {
    if (fleet.forget) {
      rows.targets.delete(name);
      rows.bundles.delete(name);
      for (const key of [...rows.objects.keys()]) if (key.startsWith(`${name} `)) rows.objects.delete(key);
      for (const key of rows.drifts.keys())
        if (key.startsWith(`${name} `) && !fleet.drift.has(key.slice(name.length + 1))) close(key, fleet.forgottenAt ?? now);
    }
    if (fleet.target !== undefined) rows.targets.set(name, fleet.target.seq);
    const kept = fleet.namesAllBundles ? [] : (rows.bundles.get(name) ?? []);
    rows.bundles.set(name, new Map([...kept, ...[...fleet.bundles].map(([bundle, { digest }]): [string, string] => [bundle, digest])]));
    for (const [id, row] of fleet.objects) {
      if (row === "gone") rows.objects.delete(`${name} ${id}`);
      else rows.objects.set(`${name} ${id}`, { state: `${row.sync} ${row.health}`, snapshotId: row.snapshotId });
    }
    for (const [id, marks] of fleet.drift) {
      const key = `${name} ${id}`;
      const known = rows.drifts.get(key) ?? [];
      rows.drifts.set(key, [...known.slice(0, -1), ...foldDrift(known.at(-1), marks)]);
    }
  }
  if (fold.snapshot !== undefined) {
    const { id, fleets, fromSeq } = fold.snapshot;
    for (const [name, seq] of [...rows.targets]) if (!fleets.has(name) && seq < fromSeq) rows.targets.delete(name);
    const isLeft = (name: string): boolean => !fleets.has(name) && !rows.targets.has(name);
    for (const name of [...rows.bundles.keys()]) if (isLeft(name)) rows.bundles.delete(name);
    for (const [key, row] of [...rows.objects]) if (row.snapshotId !== id || isLeft(key.split(" ")[0] ?? "")) rows.objects.delete(key);
    for (const key of rows.drifts.keys()) if (!rows.objects.has(key)) close(key, fold.snapshot.at);
  }
  rows.events.push(...fold.events.map(({ reason, message }) => `${reason} ${message}`));
  return fold.rest.length > 0 ? apply(rows, fold.rest) : fold;
}

const shown = (rows: Rows): object => ({
  watermark: rows.position.watermark,
  targets: sorted(rows.targets),
  bundles: sorted(rows.bundles).map(([fleet, bundles]) => [fleet, sorted(bundles)]),
  objects: sorted(new Map([...rows.objects].map(([key, { state }]) => [key, state]))),
  drifts: sorted(new Map([...rows.drifts].filter(([, episodes]) => episodes.length > 0))),
  events: rows.events,
});
const sorted = <V>(map: ReadonlyMap<string, V>): [string, V][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe("foldReports", () => {
  it("keeps bundles that a report of the changed ones does not name, and drops those that one of all does not name", () => {
    const rows = emptyRows();
    const digests = () => [...(rows.bundles.get("shop") ?? [])].map(([name, digest]) => `${name} ${digest}`).toSorted();
    apply(rows, [say(1)]);
    expect(digests()).toEqual(["b1 d1"]);
    apply(rows, [say(2), say(3)]);
    expect(digests()).toEqual(["b0 d2", "b1 d3"]);
    apply(rows, [say(4), say(5)]);
    expect(digests()).toEqual(["b0 d4", "b1 d5"]);
    apply(rows, [say(6), say(7)]);
    expect(digests()).toEqual(["b1 d7"]);
  });

  it("takes reports in order, and an older one changes nothing", () => {
    const fold = foldReports(start, [say(1), say(2, { objects: { a: "failed" } })], now);
    expect(fold).toMatchObject({ committed: 2, missing: false, position: { watermark: 2n } });
    expect(fold.fleets.get("shop")?.objects.get("/ConfigMap/x/a")).toMatchObject({ health: "Failed", sync: "Synced" });
    expect(foldReports(fold.position, [say(1), say(2)], now)).toMatchObject({ committed: 0, missing: false, events: [] });
  });

  it("asks for what is missing, and takes nothing behind the hole", () => {
    expect(foldReports(start, [say(1), say(3)], now)).toMatchObject({ committed: 1, missing: true, position: { watermark: 1n } });
  });

  it("ignores another outbox", () => {
    expect(foldReports({ ...start, epoch: "bb" }, [say(1)], now)).toMatchObject({ committed: 0, missing: false });
    expect(foldReports({ ...start, epoch: null }, [say(1)], now)).toMatchObject({ committed: 0, missing: false });
  });

  it("lets a gap stand for what it replaced, and says what was lost", () => {
    const fold = foldReports({ ...start, watermark: 3n }, [gap(9, 2)], now);
    expect(fold).toMatchObject({ committed: 1, wantsSnapshot: true, position: { watermark: 9n } });
    expect(fold.events[0]).toMatchObject({ reason: "ReportsLost", severity: "Warning", message: expect.stringContaining("8 reports") });
  });

  it("steps over poison whose place is known, and wants a snapshot", () => {
    const fold = foldReports(start, [say(1), { kind: "poison", epoch, seq: 2n }, say(3)], now);
    expect(fold).toMatchObject({ committed: 3, wantsSnapshot: true, missing: false, position: { watermark: 3n } });
  });

  it("replaces everything by a whole snapshot, but nothing reported after its parts began", () => {
    const rows = emptyRows();
    apply(rows, [say(1, { objects: { old: "fine", kept: "drifted" } }), say(2, { fleet: "left", objects: { x: "drifted" } })]);
    apply(rows, [part(3, 1, 2, { objects: { kept: "fine" } }, ["shop"])]);
    apply(rows, [say(4, { objects: { between: "fine" } })]);
    expect([...rows.objects.keys()].sort()).toEqual(["left /ConfigMap/x/x", "shop /ConfigMap/x/between", "shop /ConfigMap/x/kept", "shop /ConfigMap/x/old"]);
    apply(rows, [part(5, 2, 2, {}, ["shop"]), say(6, { objects: { after: "fine" } })]);
    expect([...rows.objects.keys()].sort()).toEqual(["shop /ConfigMap/x/after", "shop /ConfigMap/x/between", "shop /ConfigMap/x/kept"]);
    expect([...rows.targets.keys()]).toEqual(["shop"]);
    expect([...rows.drifts.values()].flat().every(({ healedAt }) => healedAt !== null)).toBe(true);
  });

  it("never takes a snapshot for whole of which a part was poison", () => {
    const rows = emptyRows();
    apply(rows, [say(1, { objects: { old: "fine" } }), part(2, 1, 3, {}, ["shop"]), { kind: "poison", epoch, seq: 3n }, part(4, 3, 3, {}, ["shop"])]);
    expect([...rows.objects.keys()]).toEqual(["shop /ConfigMap/x/old"]);
  });

  it("forgets a fleet that the agent let go of, and begins anew when it comes back", () => {
    const fold = foldReports(start, [say(1, { objects: { a: "fine" } }), say(2, { removed: true }), say(3, { objects: { b: "fine" } })], now).fleets.get(
      "shop",
    );
    expect(fold).toMatchObject({ forget: true, removedGeneration: undefined });
    expect([...(fold?.objects.keys() ?? [])]).toEqual(["/ConfigMap/x/b"]);
  });

  it("gives the same rows however the reports are duplicated, reordered and batched (fault 18)", () => {
    const state = fc.constantFrom("fine", "drifted", "failed") as fc.Arbitrary<"fine" | "drifted" | "failed">;
    const name = fc.constantFrom("a", "b", "c");
    const saying = fc.record({
      fleet: fc.constantFrom("shop", "ops"),
      objects: fc.dictionary(name, state, { maxKeys: 3 }),
      gone: fc.uniqueArray(name, { maxLength: 1 }),
      removed: fc.boolean(),
    });
    const step = fc.oneof(
      { weight: 5, arbitrary: saying.map((value) => ({ kind: "say" as const, value })) },
      {
        weight: 1,
        arbitrary: fc.tuple(saying, fc.integer({ min: 1, max: 3 }), fc.subarray(["shop", "ops"])).map(([value, parts, fleets]) => ({
          kind: "snapshot" as const,
          value: { ...value, removed: false, gone: [] },
          parts,
          fleets: [...new Set([...fleets, value.fleet])],
        })),
      },
      { weight: 1, arbitrary: fc.constant({ kind: "poison" as const }) },
    );
    const history = fc.array(step, { minLength: 1, maxLength: 15 }).map((steps) => {
      const reports: ReceivedReport[] = [];
      for (const [index, current] of steps.entries()) {
        const seq = reports.length + 1;
        if (current.kind === "say") reports.push(say(seq, current.value));
        else if (current.kind === "poison") reports.push({ kind: "poison", epoch, seq: BigInt(seq) });
        else for (let at = 0; at < current.parts; at += 1) reports.push(part(seq + at, at + 1, current.parts, current.value, current.fleets, `s${index}`));
      }
      return reports;
    });
    const delivered = history.chain((reports) =>
      fc.tuple(
        fc.constant(reports),
        fc.array(fc.array(fc.integer({ min: 0, max: reports.length - 1 }), { maxLength: 6 }), { maxLength: 10 }),
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 20 }),
      ),
    );
    fc.assert(
      fc.property(delivered, ([reports, noise, sizes]) => {
        const reference = emptyRows();
        for (const report of reports) apply(reference, [report]);
        const rows = emptyRows();
        for (const batch of noise)
          apply(
            rows,
            batch.map((index) => reports[index]!),
          );
        // At the end the agent publishes again from the watermark, in batches of any size.
        for (let at = Number(rows.position.watermark), turn = 0; at < reports.length; turn += 1) {
          const size = sizes[turn % sizes.length]!;
          const fold = apply(rows, reports.slice(at, at + size));
          expect(fold.missing).toBe(false);
          at += size;
        }
        expect(shown(rows)).toEqual(shown(reference));
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("foldDrift", () => {
  const field = (path: string, manager: string) => ({
    ...{ path, desired: "1", live: "2", manager, operation: "Update", subresource: "", changedAt: null, members: [] },
  });
  const mark = (kind: "detected" | "seen", minute: number, manager = "kubectl") =>
    ({ kind, at: new Date(minute * 60_000), bundle: "web", revision: `r${minute}`, fields: [field(`/p${minute}`, manager)] }) as const;
  const healed = (minute: number, by: DriftEpisode["healedBy"] = null) => ({ kind: "healed", at: new Date(minute * 60_000), by }) as const;

  it("counts what comes back within the window of a fight as one episode, and later drift as another", () => {
    const episodes = foldDrift(undefined, [mark("detected", 0), healed(1), mark("detected", 2), mark("seen", 2), healed(3), mark("detected", 30)]);
    expect(episodes.map(({ times, healedAt }) => [times, healedAt?.getTime()])).toEqual([
      [2, 3 * 60_000],
      [1, undefined],
    ]);
    expect(episodes[0]?.fields[0]?.path).toBe("/p2");
  });

  it("keeps what it was first and last, all who wrote, and what Git said", () => {
    const [episode] = foldDrift(undefined, [mark("detected", 0), healed(1, "agent"), mark("detected", 2, "helm"), mark("seen", 3, "kubectl")]);
    expect(episode).toMatchObject({ firstFields: [{ path: "/p0" }], fields: [{ path: "/p3" }], managers: ["kubectl", "helm"], revision: "r3", times: 2 });
    expect(episode).toMatchObject({ healedAt: null, healedBy: null });
  });

  it("remembers how it ended: the first word counts, and an event may come after the state", () => {
    const endedAs = (...marks: readonly ReturnType<typeof healed>[]) => foldDrift(undefined, [mark("seen", 0), ...marks])[0];
    expect(endedAs(healed(1, "agent"), healed(2, "itself"))).toMatchObject({ healedAt: new Date(60_000), healedBy: "agent" });
    expect(endedAs(healed(1), healed(2, "accepted"))).toMatchObject({ healedAt: new Date(60_000), healedBy: "accepted" });
    expect(endedAs(healed(1), healed(2, "gone"))).toMatchObject({ healedAt: new Date(60_000), healedBy: null });
  });

  it("takes the pruning of what somebody had deleted for Git's consent", () => {
    const deleted = { ...mark("seen", 0), fields: [{ ...field("", ""), desired: '"present"', live: "" }] };
    expect(foldDrift(undefined, [deleted, healed(1, "gone")])[0]?.healedBy).toBe("accepted");
    expect(foldDrift(undefined, [mark("seen", 0), healed(1, "gone")])[0]?.healedBy).toBe("gone");
  });

  it("makes no episode of healing alone", () => {
    expect(foldDrift(undefined, [healed(1)])).toEqual([]);
  });

  it.each([
    ["DriftHealed", "agent"],
    ["DriftEnded", "itself"],
    ["DriftAccepted", "accepted"],
    ["DriftReplaced", "target"],
  ] as const)("knows by the agent's event %s that it ended by %s", (reason, by) => {
    const id = { group: "", kind: "ConfigMap", namespace: "x", name: "a" };
    const drift = [{ path: "/data/a", desired: "1", live: "2", manager: "kubectl", operation: "Update", changedAt: { seconds: 60n, nanos: 0 } }];
    const told = (seq: number, event: object, objects: NonNullable<FleetSaying["objects"]>) => ({
      kind: "report" as const,
      envelope: envelope(seq, { case: "fleet", value: { ...fleetReport({ objects }, seq), events: [event] } }),
    });
    const found = told(1, { reason: "DriftReported", object: id, drift }, { a: "drifted" });
    const fold = foldReports(start, [found, told(2, { reason, object: id }, { a: "fine" })], now);
    const [episode] = foldDrift(undefined, fold.fleets.get("shop")?.drift.get("/ConfigMap/x/a") ?? []);
    expect(episode).toMatchObject({ times: 1, healedBy: by, revision: "r1", managers: ["kubectl"] });
    expect(episode?.firstFields).toMatchObject([{ operation: "Update", subresource: "", changedAt: "1970-01-01T00:01:00.000Z" }]);
  });
});
