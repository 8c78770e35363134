import type { RolloutRow, RolloutStatus } from "@flotilla/proto/rest/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeHub, fleetRow, page, problem, type Routes, targetRow } from "../../testing/fake-hub.ts";
import { run as runCli, scratchHome } from "../../testing/run-fleet.ts";

const revision = "a".repeat(40);
const at = "2026-11-24T00:00:00Z";
const rollout = (more: Partial<RolloutRow> = {}): RolloutRow => ({
  id: 7,
  fleet: "shop",
  revision,
  from: "b".repeat(40),
  subject: "Faster checkout",
  phase: "Running",
  wave: 1,
  waves: [
    { name: "canary", clusters: 2, marks: { Healthy: 2 }, approval: null, approved: null, soakMs: 600_000 },
    { name: "europe", clusters: 3, marks: { Updating: 1, Waiting: 2 }, approval: "ops", approved: null, soakMs: 0 },
  ],
  reason: "wave europe (2 of 2): 1 cluster being updated: eu-1",
  until: null,
  startedAt: at,
  endedAt: null,
  paused: null,
  failure: null,
  gates: [],
  ...more,
});
const status = (more: Partial<RolloutStatus> = {}): RolloutStatus => ({
  fleet: "shop",
  newest: revision,
  settled: "b".repeat(40),
  rollout: rollout(),
  queued: null,
  pins: [],
  holds: [],
  ...more,
});

let hub: FakeHub;
let home: Awaited<ReturnType<typeof scratchHome>>;
beforeEach(async () => {
  home = await scratchHome();
});
afterEach(async () => {
  await hub.stop();
  await home.remove();
});
const fleet = async (routes: Routes, ...args: string[]) => {
  hub = await FakeHub.start(routes);
  return runCli(args, { hub, env: home.env });
};
const path = "GET /fleets/shop/rollout";

describe("fleet rollout", () => {
  it("status is the wave board: what each wave has, and what it waits for", async () => {
    const { stdout } = await fleet({ [path]: () => status() }, "rollout", "status", "shop");
    expect(stdout).toMatch(/^Running +aaaaaaaaaaaa \(before: bbbbbbbbbbbb\), begun .* ago: Faster checkout$/m);
    expect(stdout).toContain("wave europe (2 of 2): 1 cluster being updated: eu-1");
    expect(stdout).toMatch(/^✓ +canary +2 +- +- +2 .*soak 10m 00s$/m);
    expect(stdout).toMatch(/^▶ +europe +3 +2 +1 .*approval by ops$/m);
  });

  it("status tells what failed first, what comes next, and what keeps the fleet", async () => {
    const told = status({
      rollout: rollout({ phase: "RolledBack", endedAt: at, failure: { cluster: "eu-1", message: "Deployment shop/web: its image cannot be pulled", at } }),
      queued: rollout({ id: 8, revision: "c".repeat(40), phase: "Queued", reason: "waits: the fleet is pinned" }),
      pins: [{ fleet: "shop", cluster: null, revision: "b".repeat(40), by: "ann", reason: "slow", at }],
      holds: [{ fleet: null, by: "bob", reason: "holidays", at, until: "2026-12-27T08:00:00.000Z" }],
    });
    const { stdout } = await fleet({ [path]: () => told }, "rollout", "status", "shop");
    expect(stdout).toContain("failed first: eu-1: Deployment shop/web: its image cannot be pulled");
    expect(stdout).toContain("next: cccccccccccc waits: the fleet is pinned");
    expect(stdout).toMatch(/pinned to bbbbbbbbbbbb by ann: slow/);
    expect(stdout).toMatch(/all fleets frozen until 2026-12-27T08:00:00.000Z by bob: holidays/);
  });

  it.each([
    ["Done", 0, /aaaaaaaaaaaa is rolled out/],
    ["RolledBack", 1, /ended as RolledBack/],
    ["Failed", 1, /ended as Failed/],
    ["Aborted", 1, /ended as Aborted/],
  ] as const)("watch of one that ended as %s has exit status %i", async (phase, code, message) => {
    const run = await fleet({ [path]: () => status({ rollout: rollout({ phase, endedAt: at }) }) }, "rollout", "watch", "shop");
    expect(run.status).toBe(code);
    expect(run.stdout + run.stderr).toMatch(message);
  });

  it("watch gives up after its time with exit status 4", async () => {
    hub = await FakeHub.start({ [path]: () => status() });
    const run = await runCli(["rollout", "watch", "shop", "--timeout", "1ms"], { hub, env: home.env, realClock: true });
    expect(run).toMatchObject({ status: 4, stderr: expect.stringContaining("has not ended after") });
  });

  it("approve names the wave that was approved, and passes on the reason", async () => {
    const approved = status({
      rollout: rollout({ waves: [{ name: "europe", clusters: 3, marks: {}, approval: "ops", approved: { by: "ann", reason: "", at }, soakMs: 0 }] }),
    });
    const run = await fleet({ "POST /fleets/shop/rollout/approve": () => approved }, "rollout", "approve", "shop", "--reason", "green");
    expect(run.stdout).toBe("fleet shop: wave europe of aaaaaaaaaaaa approved\n");
    expect(hub.seen.at(-1)?.body).toEqual({ reason: "green" });
  });

  it("passes on what the hub says of an act that cannot be", async () => {
    const refused = problem(409, "the rollout of fleet shop is paused already");
    const run = await fleet({ "POST /fleets/shop/rollout/pause": () => refused }, "rollout", "pause", "shop");
    expect(run).toMatchObject({ status: 1, stderr: expect.stringContaining("is paused already") });
  });
});

describe("fleet rollback, hold and freeze", () => {
  it("goes back to what is asked for, on the clusters that are named", async () => {
    const pins = [{ fleet: "shop", cluster: "berlin-1", revision, by: "ann", reason: "slow", at }];
    const run = await fleet(
      { "POST /fleets/shop/rollback": () => ({ pins }) },
      "rollback",
      "shop",
      "--to",
      "aaaa",
      "--cluster",
      "berlin-1",
      "--reason",
      "slow",
    );
    expect(run.stdout).toBe("cluster berlin-1 of fleet shop pinned to aaaaaaaaaaaa\n");
    expect(hub.seen.at(-1)?.body).toEqual({ force: false, revision: "aaaa", clusters: ["berlin-1"], reason: "slow" });
  });

  it("takes a moment or a duration for --until, and says what it takes", async () => {
    const held = { fleet: "shop", by: "ann", reason: "x", at, until: "2026-12-27T08:00:00.000Z" };
    const run = await fleet({ "POST /holds": () => held }, "hold", "shop", "--reason", "x", "--until", "2026-12-27T08:00Z");
    expect(run.stdout).toBe("fleet shop held until 2026-12-27T08:00:00.000Z\n");
    expect(hub.seen.at(-1)?.body).toEqual({ fleet: "shop", reason: "x", until: "2026-12-27T08:00:00.000Z" });
    await hub.stop();
    const wrong = await fleet({}, "freeze", "--reason", "x", "--until", "soon");
    expect(wrong).toMatchObject({ status: 2, stderr: expect.stringContaining("a time such as 2026-12-27T08:00Z") });
  });

  it("resume says what it ended", async () => {
    const routes = { "DELETE /suspensions": () => problem(404, "not suspended"), "DELETE /fleets/shop/keeps": () => ({ holds: 1, pins: 1, rollouts: 0 }) };
    const run = await fleet(routes, "resume", "shop");
    expect(run).toMatchObject({ status: 0, stdout: "fleet shop follows Git again: ended its hold, 1 pin\n" });
  });
});

describe("fleet status", () => {
  it("says that a rollout runs, and what keeps the fleet", async () => {
    const routes = { "GET /fleets/shop": () => fleetRow(), "GET /fleets/shop/targets": () => page([targetRow()]), [path]: () => status() };
    expect((await fleet(routes, "status", "shop")).stdout).toContain("rollout of aaaaaaaaaaaa: Running, wave europe (2 of 2)");
  });
});

describe("fleet history", () => {
  it("compares two revisions as they were released to a cluster, with exit status 3 when they differ", async () => {
    const rendered = (value: string) => ({
      fleet: "shop",
      cluster: "berlin-1",
      revision: value.repeat(40),
      generation: 1,
      bundles: [
        { name: "web", digest: "d", objects: [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "web", namespace: "shop" }, data: { value } }] },
      ],
      problems: [],
    });
    const routes: Routes = { "GET /fleets/shop/rendered/berlin-1": ({ query }) => rendered(query.revision === "aaaa" ? "a" : "b") };
    const run = await fleet(routes, "history", "shop", "--cluster", "berlin-1", "--diff", "aaaa..bbbb");
    expect(run.status).toBe(3);
    expect(run.stdout).toMatch(/^-  value: a$/m);
    expect(run.stdout).toMatch(/^\+  value: b$/m);
    await hub.stop();
    expect((await fleet(routes, "history", "shop", "--cluster", "berlin-1", "--diff", "bbbb..cccc")).status).toBe(0);
    await hub.stop();
    expect((await fleet({}, "history", "shop", "--diff", "aaaa..bbbb")).status).toBe(2);
  });
});
