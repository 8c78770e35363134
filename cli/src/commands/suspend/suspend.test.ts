import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeHub, fleetRow, page, problem, type Routes, targetRow } from "../../testing/fake-hub.ts";
import { run as runCli, scratchHome } from "../../testing/run-fleet.ts";

const suspension = { fleet: "shop", cluster: null, bundle: null, reason: "a migration", by: "ann", since: "2026-11-24T00:00:00Z" };
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

describe("fleet suspend and resume", () => {
  it("suspend a fleet, a bundle or a cluster, with a reason, and say how to go on", async () => {
    const run = await fleet({ "POST /suspensions": () => suspension }, "suspend", "shop", "--bundle", "db", "--cluster", "berlin-1", "--reason", "a migration");
    expect(run).toMatchObject({ status: 0, stdout: "bundle db of fleet shop on cluster berlin-1 suspended\n" });
    expect(run.stderr).toContain("fleet resume shop --bundle db --cluster berlin-1");
    expect(hub.seen.at(-1)?.body).toEqual({ fleet: "shop", bundle: "db", cluster: "berlin-1", reason: "a migration" });
  });

  it("say who was first", async () => {
    const run = await fleet({ "POST /suspensions": () => suspension }, "suspend", "shop", "--reason", "me too");
    expect(run.stdout).toBe("fleet shop is suspended already, since 2026-11-24T00:00:00Z by ann: a migration\n");
  });

  it.each([
    [["suspend", "--reason", "x"], /a fleet, --cluster, or both/],
    [["suspend", "--bundle", "db", "--cluster", "berlin-1", "--reason", "x"], /--bundle db is of no fleet/],
    [["suspend", "shop"], /--reason/],
  ])("%s is wrong use", async (args, message) => {
    const run = await fleet({}, ...args);
    expect(run.status).toBe(2);
    expect(run.stderr).toMatch(message);
  });

  it("resume what was suspended, and pass on what the hub says of anything else", async () => {
    const routes = { "DELETE /suspensions": () => problem(404, "fleet shop is not suspended", { hint: "suspended are: bundle db of fleet shop" }) };
    const run = await fleet(routes, "resume", "shop", "--reason", "done");
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/nothing keeps fleet shop[\s\S]*suspended are: bundle db of fleet shop/);
    expect(hub.seen[0]).toMatchObject({ path: "/api/v1/suspensions", query: { fleet: "shop" }, headers: { "flotilla-reason": "done" } });
  });

  it("are shown by fleet status and fleet suspensions", async () => {
    const routes = {
      "GET /fleets/shop": () => fleetRow({ suspended: suspension }),
      "GET /fleets/shop/targets": () => page([targetRow({ suspended: suspension })]),
    };
    const status = await fleet(routes, "status", "shop");
    expect(status.stdout).toMatch(/suspended by ann: a migration, .* ago/);
    expect(status.stdout).toMatch(/^berlin-1 .*suspended here|^berlin-1 .*suspended by ann: a migration/m);
    await hub.stop();
    const list = await fleet({ "GET /suspensions": () => page([suspension]) }, "suspensions");
    expect(list.stdout).toMatch(/^shop +all +all +ann +.* a migration$/m);
  });
});

describe("fleet window", () => {
  it("overrides windows for a time, with a reason", async () => {
    const run = await fleet(
      { "POST /window-overrides": () => ({ ...suspension, until: "2026-11-24T01:00:00Z" }) },
      "window",
      "override",
      "shop",
      "--for",
      "1h",
      "--reason",
      "outage",
    );
    expect(run).toMatchObject({ status: 0, stdout: "sync windows of fleet shop are open until 2026-11-24T01:00:00Z\n" });
    expect(hub.seen.at(-1)?.body).toEqual({ fleet: "shop", reason: "outage", forMs: 3_600_000 });
  });

  it("does not without a reason or an end", async () => {
    expect((await fleet({}, "window", "override", "shop", "--for", "1h")).status).toBe(2);
    await hub.stop();
    expect((await fleet({}, "window", "override", "shop", "--reason", "x")).status).toBe(2);
  });
});

describe("fleet sync", () => {
  it("narrows to a bundle and objects", async () => {
    const args = ["sync", "shop", "--bundle", "api", "--object", "Deployment/shop/api", "--object", "Job/shop/migrate", "--force"];
    const run = await fleet({ "POST /fleets/shop/sync": () => ({ revision: null }) }, ...args);
    expect(run.stdout).toBe("fleet shop: sync asked for of bundle api of Deployment/shop/api, Job/shop/migrate\n");
    expect(hub.seen.at(-1)?.query).toMatchObject({ bundle: "api", force: "true" });
  });

  it("refuses what names no object", async () => {
    expect(await fleet({}, "sync", "shop", "--object", "api")).toMatchObject({ status: 2, stderr: expect.stringMatching(/Kind\/namespace\/name/) as string });
  });
});
