import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditedAct, auditHash } from "@flotilla/proto/audit";
import type { AuditRow, AuthorityRow, HeldPruneRow, ObjectRow } from "@flotilla/proto/rest/contract";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { clusterRow, eventRow, FakeHub, fleetRow, hubInfo, page, problem, Reply, revision, type Routes, targetRow, token } from "./testing/fake-hub.ts";
import { run, type RunOptions, scratchHome } from "./testing/run-fleet.ts";

let hub: FakeHub | undefined;
let home: Awaited<ReturnType<typeof scratchHome>>;

beforeEach(async () => {
  home = await scratchHome();
});
afterEach(async () => {
  await hub?.stop();
  hub = undefined;
  await home.remove();
});

async function withHub(routes: Routes): Promise<(args: string, options?: RunOptions) => ReturnType<typeof run>> {
  hub = await FakeHub.start(routes);
  return (args, options = {}) => run(args.split(" "), { hub, ...options, env: { ...home.env, ...options.env } });
}

const unknownTarget = targetRow({ cluster: "paris-1", clusterPhase: "Unknown", sync: "Synced", health: "Current", asOf: "2026-11-24T00:57:00Z" });

describe("a name that is not there", () => {
  it("is told by events and drift list, which would otherwise say that nothing happened", async () => {
    const missing = () => problem(404, "there is no fleet 'shpo'", { hint: "`fleet list` shows those there are" });
    const fleet = await withHub({ "GET /events": () => page([]), "GET /drift": () => page([]), "GET /fleets/shpo": missing });
    for (const command of ["events --fleet shpo", "drift list --fleet shpo"]) {
      const { status, stdout, stderr } = await fleet(command);
      expect(status).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toContain("there is no fleet 'shpo'");
    }
  });
});

describe("fleet approve prune", () => {
  const digests = { one: "1".repeat(64), two: "2".repeat(64) };
  const held = (cluster: string, digest: string, more: Partial<HeldPruneRow> = {}): HeldPruneRow => ({
    fleet: "shop",
    cluster,
    clusterPhase: "Connected",
    revision,
    digest,
    objects: 1,
    whole: true,
    reason: "prune waits for approval: StatefulSet shop/db is of a protected kind",
    approvedBy: null,
    asOf: "2026-11-24T00:59:58Z",
    ...more,
  });
  const object: Partial<ObjectRow> = {
    group: "apps",
    kind: "StatefulSet",
    namespace: "shop",
    name: "db\u001B[2J",
    bundle: "data",
    prune: "held",
    protection: "its pods go at once",
  };
  const approving = (rows: readonly HeldPruneRow[]): Promise<(args: string, options?: RunOptions) => ReturnType<typeof run>> =>
    withHub({
      "GET /fleets/shop/held-prunes": ({ query }) => page(rows.filter(({ cluster }) => query["cluster"] === undefined || cluster === query["cluster"])),
      "GET /objects": () => page([object]),
      "POST /fleets/shop/prune-approvals": ({ body }) => {
        const { clusters, digest } = body as { clusters: string[]; digest: string };
        const approved = clusters
          .filter((cluster) => cluster !== "rome-1")
          .map((cluster) => ({ id: 1, fleet: "shop", cluster, revision, digest, generation: 2, objects: 1, approvedBy: "ops" }));
        return new Reply(201, {
          approved,
          refused: clusters.includes("rome-1") ? [{ cluster: "rome-1", code: "conflict", message: "another list is held" }] : [],
        });
      },
    });
  const sent = () => hub?.seen.filter(({ method }) => method === "POST").map(({ body }) => body);

  it("shows the list before it lets it go, and names revision and digest of what it showed", async () => {
    const fleet = await approving([held("berlin-1", digests.one), held("paris-1", digests.two)]);
    const { status, stdout, stderr } = await fleet("approve prune shop --cluster berlin-1 --yes --reason retired");
    expect(status).toBe(0);
    expect(stderr).toContain("1 object of fleet shop would be deleted in 1 cluster: berlin-1");
    expect(stderr).toContain(digests.one);
    expect(stderr).toMatch(/StatefulSet\.apps +shop +db\\x1b\[2J +data +its pods go at once/);
    expect(stderr).not.toContain("\u001B");
    expect(stdout).toBe("shop/berlin-1: 1 prune approved (111111111111)\n");
    expect(sent()).toEqual([{ clusters: ["berlin-1"], revision, digest: digests.one, reason: "retired" }]);
  });

  it("asks once for clusters that hold the same list, and goes on with the next", async () => {
    const fleet = await approving([held("berlin-1", digests.one), held("paris-1", digests.two), held("oslo-1", digests.one)]);
    expect((await fleet("approve prune shop --all-clusters --yes")).status).toBe(0);
    expect(sent()).toEqual([
      { clusters: ["berlin-1", "oslo-1"], revision, digest: digests.one },
      { clusters: ["paris-1"], revision, digest: digests.two },
    ]);
  });

  it("needs a yes, or the digest that somebody saw, where there is no terminal", async () => {
    const fleet = await approving([held("berlin-1", digests.one)]);
    const asked = await fleet("approve prune shop --cluster berlin-1");
    expect([asked.status, sent()]).toEqual([2, []]);
    expect(asked.stderr).toContain("StatefulSet");
    expect((await fleet(`approve prune shop --cluster berlin-1 --digest ${digests.one.slice(0, 12)}`)).status).toBe(0);
    expect(sent()?.length).toBe(1);
  });

  it.each([
    [`--cluster berlin-1 --digest ${digests.two}`, 1, "holds another list"],
    ["--cluster berlin-1 --revision ffff --yes", 1, "is of revision 1a2b3c4d5e6f"],
    ["--yes", 2, "which cluster's list? 2 clusters"],
    ["--cluster berlin-1 --all-clusters --yes", 2, "exclude each other"],
    ["--cluster berlin-1 --digest yesterday", 2, "it takes a digest"],
    [`--cluster nowhere-1 --digest ${digests.one}`, 1, "nothing of fleet shop is held in cluster nowhere-1"],
  ])("with %s ends with %i and approves nothing", async (flags, status, message) => {
    const fleet = await approving([held("berlin-1", digests.one), held("paris-1", digests.two)]);
    const result = await fleet(`approve prune shop ${flags}`);
    expect([result.status, sent()]).toEqual([status, []]);
    expect(result.stderr).toContain(message);
  });

  it("ends with 1 when a cluster did not take it, and says which and why", async () => {
    const fleet = await approving([held("berlin-1", digests.one), held("rome-1", digests.one)]);
    const { status, stdout, stderr } = await fleet("approve prune shop --all-clusters --yes");
    expect(status).toBe(1);
    expect(stdout).toContain("shop/berlin-1: 1 prune approved");
    expect(stderr).toContain("rome-1: another list is held");
  });

  it("prints the lists as JSON and approves nothing", async () => {
    const fleet = await approving([held("berlin-1", digests.one)]);
    const { status, stdout } = await fleet("approve prune shop --all-clusters -o json");
    expect([status, sent()]).toEqual([0, []]);
    expect(JSON.parse(stdout).items).toMatchObject([{ digest: digests.one, clusters: ["berlin-1"], objects: [{ kind: "StatefulSet" }] }]);
  });

  it("has nothing to do where nothing is held, or what is held is approved already", async () => {
    const fleet = await approving([held("berlin-1", digests.one, { approvedBy: "ops" })]);
    const { status, stderr } = await fleet("approve prune shop --all-clusters --yes");
    expect([status, sent()]).toEqual([0, []]);
    expect(stderr).toContain("nothing of fleet shop waits");
  });
});

describe("fleet approve removal", () => {
  const held = { policy: "orphan" as const, clusters: ["berlin-1", "paris-1"], digest: "3".repeat(64), of: 8, leftLately: 0, allowed: 1 };
  const leaving = (answer: typeof held | null) =>
    withHub({
      "GET /fleets/shop/held-removal": () => ({ held: answer }),
      "POST /fleets/shop/removal-approvals": () =>
        new Reply(201, { id: 1, fleet: "shop", digest: held.digest, policy: "orphan", clusters: 2, approvedBy: "ops" }),
    });
  const sent = () => hub?.seen.filter(({ method }) => method === "POST").map(({ body }) => body);

  it("shows every cluster before it lets them go, and names the list that it showed", async () => {
    const fleet = await leaving(held);
    const { status, stdout, stderr } = await fleet("approve removal shop --yes --reason closed");
    expect(status).toBe(0);
    expect(stderr).toContain("2 of 8 clusters would leave fleet shop, 1 may without a person");
    expect(stderr).toMatch(/^ {2}berlin-1\n {2}paris-1$/m);
    expect(stdout).toBe("shop: 2 clusters may leave (objects: orphan)\n");
    expect(sent()).toEqual([{ digest: held.digest, reason: "closed" }]);
  });

  it.each([
    ["", 2, "no terminal"],
    ["--digest 444444444444", 1, "other clusters would leave"],
    ["-o json", 0, ""],
  ])("with '%s' ends with %i and lets nobody go", async (flags, status, message) => {
    const fleet = await leaving(held);
    const result = await fleet(`approve removal shop${flags === "" ? "" : ` ${flags}`}`);
    expect([result.status, sent()]).toEqual([status, []]);
    expect(result.stderr).toContain(message);
  });

  it("takes the digest that somebody saw, and has nothing to do where nobody leaves", async () => {
    let fleet = await leaving(held);
    expect((await fleet("approve removal shop --digest 333333333333")).status).toBe(0);
    expect(sent()).toHaveLength(1);
    await hub?.stop();
    fleet = await leaving(null);
    expect((await fleet("approve removal shop --yes")).status).toBe(0);
    expect((await fleet("approve removal shop --digest 333333333333")).status).toBe(1);
    expect(sent()).toEqual([]);
  });

  it("is what the status of a fleet leads to, as is the approval of held deletions", async () => {
    const rows = [
      targetRow({ leaving: { since: "2026-11-24T00:00:00Z", at: "2026-11-24T01:30:00.000Z" } }),
      targetRow({ cluster: "oslo-1", leaving: { since: "2026-11-24T00:00:00Z", at: null } }),
      targetRow({ cluster: "rome-1", prunesHeld: 3, sync: "OutOfSync" }),
    ];
    const fleet = await withHub({ "GET /fleets/shop": () => fleetRow(), "GET /fleets/shop/targets": () => page(rows) });
    const { stdout } = await fleet("status shop");
    expect(stdout).toMatch(/^berlin-1 .* leaving .*leaves the fleet at 2026-11-24 01:30 UTC$/m);
    expect(stdout).toMatch(/^oslo-1 .* leaving .*once a person lets it go$/m);
    expect(stdout).toMatch(/^rome-1 .*3 deletions held: fleet approve prune shop --cluster rome-1$/m);
  });
});

describe("fleet audit", () => {
  const acts = (): AuditRow[] => {
    const rows: AuditRow[] = [];
    for (const seq of [1, 2, 3]) {
      const act: AuditedAct = {
        seq,
        at: "2026-11-24T00:59:00.000Z",
        actor: "0123456789ab",
        actorName: "ops",
        act: "cluster.label",
        fleet: "",
        cluster: `berlin-${seq}`,
        details: { labels: { env: "prod" } },
        reason: seq === 2 ? "evil\u001B[2J\nline" : "",
        source: "127.0.0.1",
        outcome: "done",
        previous: rows.at(-1)?.hash ?? "0".repeat(64),
      };
      rows.push({ ...act, details: { ...act.details }, hash: auditHash(act) });
    }
    return rows;
  };

  it("lists acts oldest first, and obeys no escape sequence in a reason", async () => {
    const fleet = await withHub({ "GET /audit": () => page(acts().toReversed()) });
    const { status, stdout } = await fleet("audit list --cluster berlin-2");
    expect(status).toBe(0);
    expect(hub?.seen[0]?.query).toMatchObject({ cluster: "berlin-2" });
    expect(stdout.split("\n").map((line) => line.slice(0, 3).trim())).toEqual(["SEQ", "1", "2", "3", ""]);
    expect(stdout).toContain("evil\\x1b[2J line");
    expect(stdout).not.toContain("\u001B");
  });

  it("follows the chain itself, and prints a head that it takes the next time", async () => {
    const rows = acts();
    const fleet = await withHub({ "GET /audit": () => page(rows) });
    const { status, stdout } = await fleet("audit verify");
    expect(status).toBe(0);
    expect(stdout.trim()).toBe(`3:${rows[2]?.hash}`);
    expect((await fleet(`audit verify --head ${stdout.trim()}`)).status).toBe(0);
    expect((await fleet(`audit verify --head 2:${rows[1]?.hash}`)).status).toBe(0);
  });

  it.each([
    ["an act that was changed", (rows: AuditRow[]) => rows.map((row) => ({ ...row, actor: row.seq === 2 ? "innocent" : row.actor })), "", "broken at act 2"],
    ["an act that was taken out", (rows: AuditRow[]) => rows.filter(({ seq }) => seq !== 2), "", "act 2 is missing"],
    ["an end that was cut off", (rows: AuditRow[]) => rows.slice(0, 2), `3:${"a".repeat(64)}`, "are cut off"],
    ["a log that was made anew", (rows: AuditRow[]) => rows, `2:${"a".repeat(64)}`, "is not the act that --head names"],
  ])("ends with 1 and names %s", async (_what, forge, head, message) => {
    const fleet = await withHub({ "GET /audit": () => page(forge(acts())) });
    const { status, stdout, stderr } = await fleet(`audit verify -o json${head === "" ? "" : ` --head ${head}`}`);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, fault: { seq: expect.any(Number) } });
    expect(stderr).toContain(message);
  });

  it("refuses a head that is none", async () => {
    const fleet = await withHub({});
    const { status, stderr } = await fleet("audit verify --head yesterday");
    expect(status).toBe(2);
    expect(stderr).toContain("NUMBER:HASH");
  });
});

describe("a reason", () => {
  it("goes to the audit log with every act, whatever it is written in", async () => {
    const fleet = await withHub({
      "PATCH /clusters/berlin-1": () => clusterRow(),
      "GET /clusters/berlin-1": () => clusterRow(),
      "DELETE /clusters/berlin-1": () => new Reply(204, undefined),
    });
    expect((await fleet("cluster label berlin-1 a=b --reason Umzug·größer")).status).toBe(0);
    expect((await fleet("cluster remove berlin-1 --yes --reason gone")).status).toBe(0);
    expect(hub?.seen.filter(({ method }) => method !== "GET").map(({ headers }) => decodeURIComponent(String(headers["flotilla-reason"])))).toEqual([
      "Umzug·größer",
      "gone",
    ]);
  });
});

describe("a refusal", () => {
  it("says its one problem once", async () => {
    const problems = [{ code: "bad-repository-url", message: "'ftp://' is not a transport that the hub uses", hint: "write https://host/path.git" }];
    const fleet = await withHub({ "POST /fleets": () => problem(400, problems[0]?.message ?? "", { hint: problems[0]?.hint ?? "", problems }) });
    const { stderr } = await fleet("create shop --repo ftp://x/y");
    expect(stderr.match(/is not a transport/g)).toHaveLength(1);
    expect(stderr.match(/hint: write/g)).toHaveLength(1);
  });
});

describe("fleet status", () => {
  it("shows every fleet in an aligned table with short revisions and ages", async () => {
    const fleet = await withHub({ "GET /fleets": () => page([fleetRow(), fleetRow({ name: "a-longer-name", sync: "OutOfSync" })]) });
    const { status, stdout } = await fleet("status");
    expect(status).toBe(0);
    const [head = "", shop = "", longer = ""] = stdout.split("\n");
    expect(head).toMatch(/^FLEET +REVISION +SYNC +HEALTH/);
    expect(shop).toContain("1a2b3c4d5e6f ");
    expect(shop).not.toContain(revision);
    expect(shop.indexOf("1a2b")).toBe(head.indexOf("REVISION"));
    expect(longer.indexOf("OutOfSync")).toBe(head.indexOf("SYNC"));
    expect(shop).toContain("2s");
    expect(stdout).not.toContain("\u001B");
  });

  it("never shows an unreachable cluster as synced, and says how old its last word is", async () => {
    const fleet = await withHub({ "GET /fleets/shop": () => fleetRow(), "GET /fleets/shop/targets": () => page([targetRow(), unknownTarget]) });
    const { stdout } = await fleet("status shop", { env: { FORCE_COLOR: "1" } });
    const line = stdout.split("\n").find((text) => text.includes("paris-1")) ?? "";
    expect(line).toContain("Unknown");
    expect(line).toContain("as of 3m ago");
    expect(line).not.toContain("Synced");
    expect(line).not.toContain("\u001B[32m");
  });

  it("shows clusters by bundles with -o wide, and full revisions in json and yaml", async () => {
    const bundle = {
      fleet: "shop",
      cluster: "berlin-1",
      bundle: "storefront",
      digest: "sha256:abcdef0123456789",
      sync: "Synced",
      health: "Current",
      message: "",
      objects: 3,
      healthy: 3,
      drifted: 0,
      failed: 0,
      healthCounts: { InProgress: 2, Failed: 1 },
      suspended: null,
      asOf: null,
    };
    const fleet = await withHub({
      "GET /fleets/shop": () => fleetRow(),
      "GET /fleets/shop/targets": () => page([targetRow()]),
      "GET /bundles": () => page([bundle]),
    });
    const wide = (await fleet("status shop -o wide")).stdout;
    expect(wide).toContain("storefront");
    expect(wide).toMatch(/NOT CURRENT/);
    expect(wide).toContain("1 Failed, 2 InProgress");
    expect(JSON.parse((await fleet("status shop -o json")).stdout)).toMatchObject({ fleet: { revision }, targets: [{ cluster: "berlin-1" }] });
    expect((await fleet("status shop -o yaml")).stdout).toContain(`revision: ${revision}`);
    expect((await fleet("status shop -o name")).stdout).toBe("berlin-1\n");
  });

  it("shows the problems of the fleet's source", async () => {
    const bad = fleetRow({
      seenRevision: "f".repeat(40),
      problems: [{ code: "unknown-field", message: "unknown field 'bundels'", file: "fleet.yaml", line: 12, column: 5, hint: "did you mean 'bundles'?" }],
    });
    const fleet = await withHub({ "GET /fleets/shop": () => bad, "GET /fleets/shop/targets": () => page([targetRow()]) });
    const { stdout } = await fleet("status shop");
    expect(stdout).toContain("fleet.yaml:12:5: error: unknown field 'bundels'");
    expect(stdout).toContain("hint: did you mean 'bundles'?");
    expect(stdout).toContain("ffffffffffff was seen and is not released");
  });

  it("makes escape sequences from clusters visible instead of obeying them", async () => {
    const evil = targetRow({ message: "\u001B[2Jgone" });
    const fleet = await withHub({ "GET /fleets/shop": () => fleetRow(), "GET /fleets/shop/targets": () => page([evil]) });
    expect((await fleet("status shop")).stdout).toContain("\\x1b[2Jgone");
  });

  it("appends only what is new with --watch when stdout is no terminal", async () => {
    let drifted = 0;
    const stopped = new AbortController();
    const change = (id: number) => `event: change\nid: ${id}\ndata: {"version":${id},"fleets":["shop"],"clusters":[]}\n\n`;
    let send: ((text: string) => void) | undefined;
    const fleet = await withHub({
      "GET /fleets": () => page([fleetRow({ tally: { ...fleetRow().tally, drifted } })]),
      "GET /watch": () => (response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(": hello\n\n");
        send = (text) => response.write(text);
      },
    });
    const { status, stdout } = await fleet("status --watch", {
      signal: stopped.signal,
      onOutput(out) {
        if (drifted === 0 && send) {
          drifted = 1;
          send(change(1));
        } else if (drifted === 0) {
          setTimeout(() => ((drifted = 1), send?.(change(1))), 50);
        }
        if (out.split("\n").filter((line) => line.startsWith("shop")).length === 2) stopped.abort();
      },
    });
    expect(status).toBe(0);
    expect(stdout.match(/^FLEET/gm)).toHaveLength(1);
    expect(stdout.match(/^shop/gm)).toHaveLength(2);
    expect(stdout).not.toContain("\u001B");
  });
});

describe("errors", () => {
  it("say that the hub cannot be reached, with status 6 and the remedy", async () => {
    const { status, stderr } = await run(["status"], { env: { ...home.env, FLOTILLA_HUB: "http://127.0.0.1:1", FLOTILLA_TOKEN: "x" } });
    expect(status).toBe(6);
    expect(stderr).toContain("cannot reach the hub at http://127.0.0.1:1 (FLOTILLA_HUB): nothing listens there");
    expect(stderr).toContain("hint: start it with 'fleet hub start'");
  });

  it("say that there is no hub at all", async () => {
    const { status, stderr } = await run(["status"], { env: home.env });
    expect(status).toBe(6);
    expect(stderr).toContain("fleet login URL");
  });

  it("carry the hub's words, hint and problems; a refused token is status 5", async () => {
    const fleet = await withHub({
      "GET /fleets/shop": () =>
        problem(409, "fleet shop is being deleted", { hint: "wait for it", problems: [{ code: "x", message: "still on berlin-1", cluster: "berlin-1" }] }),
    });
    const conflict = await fleet("show shop");
    expect(conflict.status).toBe(1);
    expect(conflict.stderr).toContain("error: fleet shop is being deleted\n  error: still on berlin-1 (cluster berlin-1)\n  hint: wait for it");
    const refused = await fleet("status", { env: { FLOTILLA_TOKEN: "wrong" } });
    expect(refused.status).toBe(5);
    expect(refused.stderr).toContain("log in again");
  });

  it("suggest the nearest command and flag, with status 2", async () => {
    const command = await run(["statsu"], { env: home.env });
    expect(command).toMatchObject({ status: 2, stdout: "" });
    expect(command.stderr).toContain("did you mean 'status'?");
    const flag = await run(["status", "--wach"], { env: home.env });
    expect(flag.status).toBe(2);
    expect(flag.stderr).toContain("did you mean --watch?");
    const value = await run(["status", "-o", "jsn"], { env: home.env });
    expect(value.status).toBe(2);
    expect(value.stderr).toContain("--output is 'jsn': it takes table, wide, json, yaml, name");
    expect((await run(["show"], { env: home.env })).stderr).toContain("FLEET is missing");
    expect((await run(["create", "shop"], { env: home.env })).stderr).toContain("--repo is missing");
  });

  it("refuse plain HTTP beyond this machine", async () => {
    const { status, stderr } = await run(["status", "--hub", "http://hub.example.com"], { env: home.env });
    expect(status).toBe(2);
    expect(stderr).toContain("use https://hub.example.com");
  });

  it("try a read again when the hub is not ready, and give up in the end", async () => {
    let asked = 0;
    const fleet = await withHub({ "GET /fleets": () => ((asked += 1) < 3 ? problem(503, "starting") : page([])) });
    expect((await fleet("list")).status).toBe(0);
    expect(asked).toBe(3);
    asked = -10;
    expect((await fleet("list")).status).toBe(6);
  });
});

describe("lists", () => {
  it("follow pages to the end, and refuse a circle", async () => {
    const fleet = await withHub({
      "GET /clusters": ({ query }) =>
        query.cursor === undefined ? { items: [clusterRow()], next: "b", total: 2 } : { items: [clusterRow({ name: "paris-1" })], next: null, total: 2 },
      "GET /drift": () => ({ items: [], next: "same", total: 0 }),
    });
    expect((await fleet("cluster list -o name")).stdout).toBe("berlin-1\nparis-1\n");
    expect((await fleet("drift list")).stderr).toContain("go in a circle");
  });

  it("pass filters on to the hub", async () => {
    const fleet = await withHub({ "GET /clusters": () => page([]) });
    const { stderr } = await fleet("cluster list -l env=prod,region!=us --phase Unknown");
    expect(hub?.seen[0]?.query).toMatchObject({ labelSelector: "env=prod,region!=us", phase: "Unknown", limit: "500" });
    expect(stderr).toContain("fleet cluster add");
  });

  it("print revisions one a line for other programs", async () => {
    const row = {
      fleet: "shop",
      revision,
      author: "Ada",
      subject: "More replicas",
      committedAt: null,
      seenAt: "2026-11-24T00:00:00Z",
      outcome: "rendered",
      problems: [],
      rollout: { id: 1, phase: "Done", reason: "" },
      clusters: { wanted: 2, synced: 2, healthy: 1 },
      traceId: null,
    };
    const fleet = await withHub({ "GET /fleets/shop/revisions": () => page([row]) });
    expect((await fleet("history shop -o name")).stdout).toBe(`${revision}\n`);
    expect((await fleet("history shop")).stdout).toMatch(/1a2b3c4d5e6f +60m +rendered +Done +2\/2 +1\/2 +Ada +More replicas/);
  });
});

describe("fleet create, delete, sync", () => {
  it("say which ref is followed where none was given", async () => {
    const fleet = await withHub({
      "GET /fleets/shop": () => fleetRow({ ref: { branch: "HEAD" } }),
      "GET /fleets": () => page([fleetRow({ ref: { branch: "HEAD" } })]),
    });
    expect((await fleet("list")).stdout).toMatch(/ default branch /);
    expect((await fleet("show shop")).stdout).toMatch(/Ref: +default branch/);
  });

  it("send what the contract wants, with a password from stdin only", async () => {
    const fleet = await withHub({
      "POST /fleets": () => new Reply(201, { fleet: fleetRow(), webhook: { path: "/api/v1/webhooks/7", secret: "s3cret-of-the-hook" } }),
    });
    const { status, stdout, stderr } = await run(
      [
        "create",
        "shop",
        "--repo",
        "https://git.example.com/shop.git",
        "--branch",
        "main",
        "--path",
        "deploy",
        "--selector",
        "env in (prod,staging),!edge",
        "--password-stdin",
        "--poll",
        "30s",
      ],
      { hub, env: home.env, stdin: "hunter2\n" },
    );
    expect(status).toBe(0);
    expect(hub?.seen[0]?.body).toEqual({
      name: "shop",
      repository: "https://git.example.com/shop.git",
      ref: { branch: "main" },
      path: "deploy",
      selector: {
        matchExpressions: [
          { key: "env", operator: "In", values: ["prod", "staging"] },
          { key: "edge", operator: "DoesNotExist" },
        ],
      },
      credentials: { password: "hunter2" },
      pollIntervalMs: 30_000,
    });
    expect(stdout).toBe("fleet shop created\n");
    expect(stderr).toContain("webhook secret (shown once): s3cret-of-the-hook");
    expect((await fleet("create Shop! --repo https://x.example.com/y")).status).toBe(2);
    expect((await fleet("create shop --repo https://x.example.com/y --branch a --tag b")).stderr).toContain("exclude each other");
  });

  it("ask before deleting, and want --yes without a terminal", async () => {
    const fleet = await withHub({ "GET /fleets/shop": () => fleetRow(), "DELETE /fleets/shop": () => new Reply(202, fleetRow({ deleting: "delete" })) });
    const refused = await fleet("delete shop");
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("give --yes");
    const done = await fleet("delete shop --objects delete --yes");
    expect(done.status).toBe(0);
    expect(done.stderr).toContain("DELETED there");
    expect(hub?.seen.at(-1)?.query).toEqual({ objects: "delete" });
  });

  it("ask the hub to fetch now", async () => {
    const fleet = await withHub({ "POST /fleets/shop/sync": () => new Reply(202, { revision }) });
    expect((await fleet("sync shop --cluster berlin-1")).stdout).toContain("it is at 1a2b3c4d5e6f");
    expect(hub?.seen[0]?.query).toEqual({ cluster: "berlin-1" });
  });
});

describe("fleet wait", () => {
  it("ends when every cluster is there", async () => {
    let looks = 0;
    const fleet = await withHub({
      "GET /fleets/shop": () => ((looks += 1) < 2 ? fleetRow({ tally: { ...fleetRow().tally, synced: 1 } }) : fleetRow()),
      "GET /fleets/shop/targets": () => page([targetRow()]),
    });
    const { status, stdout, stderr } = await fleet("wait shop --for healthy,revision=1a2b3c4d", { realClock: true });
    expect(status).toBe(0);
    expect(stdout).toContain("healthy at 1a2b3c4d");
    expect(stderr).toContain("synced on 1 of 2");
  });

  it("ends with 4 when the time is over, naming what is missing", async () => {
    const behind = targetRow({ running: { generation: 2, revision: "0".repeat(40) }, sync: "OutOfSync" });
    const fleet = await withHub({ "GET /fleets/shop": () => fleetRow(), "GET /fleets/shop/targets": () => page([behind]) });
    const { status, stderr } = await fleet("wait shop --timeout 50ms", { realClock: true });
    expect(status).toBe(4);
    expect(stderr).toContain("berlin-1 runs 000000000000, not yet 1a2b3c4d5e6f");
  });

  it("ends with 1 at once when the wanted revision does not render", async () => {
    const bad = fleetRow({ seenRevision: `dead${"0".repeat(36)}`, problems: [{ code: "x", message: "unknown field", file: "fleet.yaml", line: 3 }] });
    const fleet = await withHub({ "GET /fleets/shop": () => bad });
    const { status, stderr } = await fleet("wait shop --for revision=dead0000");
    expect(status).toBe(1);
    expect(stderr).toContain("fleet.yaml:3: error: unknown field");
  });

  it("does not take a goal that it does not know", async () => {
    expect((await run(["wait", "shop", "--for", "happy"], { env: home.env })).status).toBe(2);
  });
});

describe("fleet cluster", () => {
  const enrolment = { cluster: "berlin-1", token: "tok_1", expiresAt: "2026-11-24T02:00:00Z", enrolAddress: "hub.example.com:7422", caHash: "cd".repeat(32) };

  it("add prints one command on stdout and nothing else", async () => {
    const fleet = await withHub({ "POST /clusters": () => new Reply(201, enrolment) });
    const { stdout, stderr } = await fleet("cluster add berlin-1 --label env=prod,region=eu --ttl 1h");
    expect(stdout).toBe(`fleet agent install --cluster berlin-1 --hub hub.example.com:7422 --ca-hash ${"cd".repeat(32)} --token tok_1\n`);
    expect(stderr).toContain("for 60m 00s, once");
    expect(hub?.seen[0]?.body).toEqual({ name: "berlin-1", labels: { env: "prod", region: "eu" }, tokenLifetimeMs: 3_600_000 });
    expect((await fleet("cluster add berlin-1 --label env")).stderr).toContain("labels are key=value");
  });

  it("label sets and removes", async () => {
    const fleet = await withHub({ "PATCH /clusters/berlin-1": () => clusterRow({ labels: { env: "dev" } }) });
    expect((await fleet("cluster label berlin-1 env=dev region-")).stdout).toBe("cluster berlin-1: env=dev\n");
    expect(hub?.seen[0]?.body).toEqual({ labels: { env: "dev", region: null } });
  });

  it("remove says what happens, and wants a yes", async () => {
    const fleet = await withHub({ "GET /clusters/berlin-1": () => clusterRow(), "DELETE /clusters/berlin-1": () => new Reply(204, undefined) });
    expect((await fleet("cluster remove berlin-1")).status).toBe(2);
    const { status, stderr } = await fleet("cluster remove berlin-1 -y");
    expect(status).toBe(0);
    expect(stderr).toContain("what runs there keeps running");
  });

  it("show has labels, facts and the objects in trouble", async () => {
    const object = {
      fleet: "shop",
      cluster: "berlin-1",
      bundle: "web",
      group: "apps",
      version: "v1",
      kind: "Deployment",
      namespace: "shop",
      name: "web",
      uid: "u",
      sync: "Synced",
      health: "Failed",
      message: "ImagePullBackOff",
      change: "configured",
      drift: [],
      asOf: null,
    };
    const fleet = await withHub({
      "GET /clusters/berlin-1": () => clusterRow({ phase: "Unknown" }),
      "GET /bundles": () => page([]),
      "GET /objects": () => page([object]),
    });
    const { stdout } = await fleet("cluster show berlin-1");
    expect(stdout).toMatch(/Status: +Unknown \(as of 2s ago\)/);
    expect(stdout).toMatch(/Sync: +Unknown/);
    expect(stdout).toContain("Deployment/shop/web");
    expect(stdout).toContain("ImagePullBackOff");
  });
});

describe("fleet ca", () => {
  const row = (hash: string, more: Partial<AuthorityRow> = {}): AuthorityRow => ({
    hash,
    certificate: "-----BEGIN CERTIFICATE-----",
    state: "active",
    createdAt: "2026-11-23T01:00:00Z",
    activatedAt: null,
    retiredAt: null,
    holders: 3,
    trusting: 3,
    clusters: 3,
    ...more,
  });
  const [old, next] = ["a".repeat(64), "b".repeat(64)] as const;

  it("list says which one signs, and what hangs on each", async () => {
    const fleet = await withHub({ "GET /authorities": () => ({ items: [row(next, { state: "staged", holders: 0, trusting: 2 }), row(old)] }) });
    const { stdout } = await fleet("ca list");
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["CA", "STATE", "AGE", "TRUSTED BY", "CERTIFICATES"],
      ["bbbbbbbbbbbb", "staged", "24h", "2/3", "0"],
      ["aaaaaaaaaaaa", "active", "24h", "3/3", "3"],
      [""],
    ]);
    expect(JSON.parse((await fleet("ca list -o json")).stdout).items).toHaveLength(2);
  });

  it("stage, activate and retire say the next step, and retire wants a yes", async () => {
    const fleet = await withHub({
      "POST /authorities": () => new Reply(201, row(next, { state: "staged" })),
      [`POST /authorities/${next}/activate`]: () => row(next),
      [`POST /authorities/${old}/retire`]: () => ({ ...row(old, { state: "retired" }), lockedOut: ["berlin-1"] }),
    });
    expect(await fleet("ca stage")).toMatchObject({ stdout: "CA bbbbbbbbbbbb staged\n", stderr: expect.stringContaining("fleet ca activate bbbbbbbbbbbb") });
    expect((await fleet(`ca activate ${next}`)).stdout).toBe("CA bbbbbbbbbbbb signs from now on\n");
    expect((await fleet(`ca retire ${old}`)).status).toBe(2);
    const retired = await run(["ca", "retire", old, "-y", "--force", "--reason", "it leaked"], { hub: hub!, env: home.env });
    expect(retired).toMatchObject({ status: 0, stderr: expect.stringContaining("1 cluster locked out: berlin-1") });
    expect(hub?.seen.at(-1)?.body).toEqual({ force: true, reason: "it leaked" });
  });

  it("retire that is refused ends with 1, and says who hangs on it", async () => {
    const refusal = problem(409, "agents still hang on CA aaaaaaaaaaaa: away", { hint: "they change by themselves" });
    const fleet = await withHub({ [`POST /authorities/${old}/retire`]: () => refusal });
    expect(await fleet(`ca retire ${old} -y`)).toMatchObject({ status: 1, stderr: expect.stringContaining("agents still hang on CA aaaaaaaaaaaa: away") });
  });
});

describe("fleet drift", () => {
  const drift = {
    id: 42,
    fleet: "shop",
    cluster: "berlin-1",
    bundle: "web",
    object: "apps/Deployment/shop/web",
    fields: [
      {
        path: "/spec/replicas",
        desired: "3",
        live: "1",
        manager: "kubectl-edit",
        operation: "Update",
        subresource: "scale",
        changedAt: "2026-11-24T00:57:00Z",
        members: ["f:spec", "f:replicas"],
      },
    ],
    firstFields: [],
    managers: ["helm", "kubectl-edit"],
    revision: "abcdef0123456789",
    healedBy: "agent",
    firstSeenAt: "2026-11-24T00:50:00Z",
    lastSeenAt: "2026-11-24T00:59:00Z",
    times: 4,
    healedAt: "2026-11-24T00:59:01Z",
    asOf: "2026-11-24T00:59:58Z",
  };

  it("list names the object, who wrote and how often", async () => {
    const fleet = await withHub({ "GET /drift": () => page([drift]) });
    expect((await fleet("drift list --open")).stdout).toMatch(/42 +berlin-1 +shop +Deployment shop\/web +Healed +1 +helm,kubectl-edit +4 +10m/);
    expect(hub?.seen[0]?.query).toMatchObject({ open: "true" });
  });

  it("list shows what is open or ended within a day, and goes further back when told to", async () => {
    const fleet = await withHub({ "GET /drift": () => page([drift]) });
    await fleet("drift list");
    await fleet("drift list --since 2h --manager helm --bundle web");
    await fleet("drift list --all");
    expect(hub?.seen.map(({ query }) => query["since"])).toEqual(["2026-11-23T01:00:00.000Z", "2026-11-23T23:00:00.000Z", undefined]);
    expect(hub?.seen[1]?.query).toMatchObject({ manager: "helm", bundle: "web" });
    expect((await fleet("drift list --all --object web")).stdout).toContain("Deployment shop/web");
    expect((await fleet("drift list --all --object api")).stdout).toBe("");
    expect((await fleet("drift list --all --since 1h")).status).toBe(2);
  });

  it("show gives the last drift of an object, with --all each one", async () => {
    const fleet = await withHub({ "GET /drift": () => page([drift, { ...drift, id: 41, healedBy: "accepted" }]) });
    expect((await fleet("drift show web")).stdout).not.toContain("accepted");
    expect((await fleet("drift show deployment/shop/web --all")).stdout).toContain("accepted: Git says so now");
  });

  it("show is a diff per field with its manager", async () => {
    const fleet = await withHub({ "GET /drift": () => page([drift]) });
    const { stdout } = await fleet("drift show 42");
    expect(stdout).toContain("@@ /spec/replicas @@ written by kubectl-edit (Update of scale), 3m ago\n- 3\n+ 1");
    expect(stdout).toContain("seen 4 times, first 10m ago");
    expect(stdout).toContain("healed by the agent 59s ago");
    expect(stdout).toContain("before that written by helm");
    expect((await fleet("drift show 43")).status).toBe(1);
  });
});

describe("fleet drift accept", () => {
  const field = { path: "/data/a", desired: '"1"', live: '"2"', manager: "kubectl-edit", operation: "Update", subresource: "", changedAt: null, members: [] };
  const drift = (more: object = {}) => ({
    ...{ id: 7, fleet: "shop", cluster: "berlin-1", bundle: "web", object: "/ConfigMap/shop/web", fields: [field], firstFields: [field], managers: [] },
    ...{ firstSeenAt: "2026-11-24T00:50:00Z", lastSeenAt: "2026-11-24T00:59:00Z", times: 1, revision: "abc", healedAt: null, healedBy: null, asOf: null },
    ...more,
  });
  const accept = async (rows: readonly object[], words = "shop web --print") => {
    const fleet = await withHub({
      "GET /drift": () => page(rows),
      "GET /fleets/shop": () => fleetRow(),
      "GET /clusters/berlin-1": () => clusterRow(),
    });
    return fleet(`drift accept ${words} --cluster berlin-1`);
  };

  it.each<[string, object, RegExp]>([
    ["values of Secrets", { object: "/Secret/shop/web" }, /the hub knows only hashes of its values\n +hint: change it where/],
    ["what is too long to be known", { fields: [{ ...field, live: '"2…' }] }, /\/data\/a of ConfigMap shop\/web is too long/],
    ["what was deleted", { fields: [{ ...field, path: "", live: "" }] }, /was deleted.*\n +hint: .*take the object out of its bundle/],
    ["what nobody knows", { fields: [] }, /no field of the drift/],
    ["what is no longer there", { healedAt: "2026-11-24T00:59:00Z", healedBy: "agent" }, /no longer there: it ended 60s ago\n +hint: with --healed/],
  ])("refuses %s with what to do", async (_what, more, message) => {
    const { status, stderr } = await accept([drift(more)]);
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
  });

  it("wants one object that drifted, and a place for the change", async () => {
    expect(await accept([], "shop web --print")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("fleet drift list --fleet shop --cluster berlin-1 --all"),
    });
    const both = await accept([drift(), drift({ id: 8, object: "apps/Deployment/shop/web" })]);
    expect(both).toMatchObject({ status: 2, stderr: expect.stringContaining("ConfigMap shop/web and Deployment shop/web") });
    expect(await accept([drift()], "shop web")).toMatchObject({ status: 2, stderr: expect.stringContaining("--path DIR") });
    expect((await accept([drift()], "shop web --print --branch x")).status).toBe(2);
    for (const folder of ["/nowhere", "/"])
      expect(await accept([drift()], `shop web --path ${folder}`)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining("no clone of a Git repository"),
      });
  });
});

describe("fleet trace", () => {
  const phase = (cluster: string, name: string, from: number, to: number) => ({
    cluster,
    phase: name,
    startedAt: new Date(1_000_000 + from).toISOString(),
    endedAt: new Date(1_000_000 + to).toISOString(),
    error: "",
    spanId: "",
  });
  const trace = {
    fleet: "shop",
    revision,
    traceId: "t1",
    subject: "More replicas",
    seenAt: "2026-11-24T00:59:00Z",
    phases: [
      phase("", "fetch", 0, 40),
      phase("", "render", 40, 100),
      phase("berlin-1", "apply", 120, 180),
      phase("berlin-1", "healthy", 180, 400),
      phase("paris-1", "apply", 130, 150),
      phase("paris-1", "healthy", 150, 1_900),
    ],
  };

  it("prints the tree with times, the slowest marked, and push to healthy", async () => {
    const fleet = await withHub({ "GET /fleets": () => page([fleetRow()]), [`GET /fleets/shop/revisions/1a2b3c4d/trace`]: () => trace });
    const { stdout } = await fleet("trace 1a2b3c4d");
    expect(stdout).toContain("├─ hub");
    expect(stdout).toMatch(/│ {2}└─ render +\+40 ms +60 ms {2}\*/);
    expect(stdout).toMatch(/├─ berlin-1 {3}400 ms\n/);
    expect(stdout).toMatch(/└─ paris-1 {3}1\.90 s {2}← slowest/);
    expect(stdout).toContain("push → healthy: 2 clusters, first 400 ms, middle 400 ms, last 1.90 s");
  });

  it("finds the newest revision by the fleet's name, and says when there is none", async () => {
    const fleet = await withHub({
      "GET /fleets": () => page([fleetRow()]),
      "GET /fleets/shop/revisions": () => page([{ revision }]),
      [`GET /fleets/shop/revisions/${revision}/trace`]: () => trace,
    });
    expect((await fleet("trace shop")).status).toBe(0);
    const none = await fleet("trace ffffffff");
    expect(none.status).toBe(1);
    expect(none.stderr).toContain("fleet history FLEET");
  });
});

describe("fleet events", () => {
  it("follows, and goes on after a broken connection without repeating", async () => {
    const stopped = new AbortController();
    let connections = 0;
    const fleet = await withHub({
      "GET /events": () => page([eventRow(2), eventRow(1)]),
      "GET /watch": () => (response, seen) => {
        connections += 1;
        response.writeHead(200, { "content-type": "text/event-stream" });
        const from = Number(seen.headers["last-event-id"]);
        response.write(
          `: hello\n\nevent: event\nid: ${from}\ndata: ${JSON.stringify(eventRow(from))}\n\nevent: event\nid: ${from + 1}\ndata: ${JSON.stringify(eventRow(from + 1))}\n\n`,
        );
        if (connections === 1) setTimeout(() => hub?.cut(), 20);
      },
    });
    const { status, stdout } = await fleet("events --follow -o json", {
      signal: stopped.signal,
      onOutput: (out) => void (out.includes("healed 4") && stopped.abort()),
    });
    expect(status).toBe(0);
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { id: number }).id),
    ).toEqual([1, 2, 3, 4]);
    expect(connections).toBe(2);
  });
});

describe("fleet render of a fleet", () => {
  it("prints documents that kubectl takes", async () => {
    const rendered = {
      fleet: "shop",
      cluster: "berlin-1",
      revision,
      generation: 1,
      problems: [],
      bundles: [
        {
          name: "web",
          digest: "d",
          objects: [
            { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { on: "yes", mode: "0777" } },
            { apiVersion: "v1", kind: "Service", metadata: { name: "b", annotations: { "argocd.argoproj.io/sync-options": "Prune=false,Replace=true" } } },
          ],
        },
      ],
    };
    const fleet = await withHub({ "GET /fleets/shop/rendered/berlin-1": () => rendered });
    const { stdout, stderr } = await fleet("render shop --cluster berlin-1");
    expect(stderr).toContain("honoured: argocd.argoproj.io/sync-options: Prune=false: never deleted by Flotilla (1 object)");
    expect(stderr).toContain("not honoured: argocd.argoproj.io/sync-options: Replace=true: objects are applied, never replaced");
    expect(stdout).toContain("---\n# bundle: web\napiVersion: v1\nkind: ConfigMap");
    expect(stdout).toContain("'on': 'yes'");
    expect(stdout).toContain("mode: '0777'");
    expect(stdout.match(/^---$/gm)).toHaveLength(2);
    expect((await fleet("render shop")).stderr).toContain("write ./shop");
    expect((await fleet("render shop --cluster berlin-1 --bundle no")).stderr).toContain("there are: web");
  });
});

describe("logins", () => {
  it("try the token, save it for its owner only, and use it from then on", async () => {
    await withHub({ "GET /hub": () => hubInfo, "GET /fleets": () => page([fleetRow()]) });
    const url = hub?.url ?? "";
    const login = await run(["login", url, "--token-stdin", "--name", "test"], { env: home.env, stdin: `${token}\n` });
    expect(login).toMatchObject({ status: 0 });
    const file = join(home.folder, "config", "flotilla", "config.json");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(login.stdout + login.stderr).not.toContain(token);
    expect((await run(["list", "-o", "name"], { env: home.env })).stdout).toBe("shop\n");
    expect((await run(["context", "list"], { env: home.env })).stdout).toMatch(/\* +test +http/);
    expect((await run(["list", "--context", "other"], { env: home.env })).stderr).toContain("(there: test)");
    const wrong = await run(["login", url, "--token-stdin", "--name", "bad"], { env: home.env, stdin: "nonsense" });
    expect(wrong.status).toBe(5);
    expect(await readFile(file, "utf8")).not.toContain("nonsense");
    await chmod(file, 0o644);
    const doctor = await run(["doctor"], { env: home.env });
    expect(doctor.status).toBe(1);
    expect(doctor.stdout).toContain("chmod 600");
  });

  it("are not needed for a hub on this machine", async () => {
    await withHub({ "GET /fleets": () => page([fleetRow()]) });
    const folder = join(home.folder, "state", "flotilla", "hub");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "endpoint.json"), JSON.stringify({ url: hub?.url, pid: 1 }));
    await writeFile(join(folder, "admin-token"), `${token}\n`);
    expect((await run(["list", "-o", "name"], { env: home.env })).stdout).toBe("shop\n");
  });
});

describe("fleet doctor", () => {
  it("prints the hub's checks with their remedies, and ends with 1 when one is bad", async () => {
    const fleet = await withHub({
      "GET /hub": () => ({ ...hubInfo, version: "0.9.0", checks: [{ name: "broker", ok: false, message: "NATS does not answer", hint: "start it" }] }),
    });
    const { status, stdout } = await fleet("doctor");
    expect(status).toBe(1);
    expect(stdout).toMatch(/BAD +hub: broker +NATS does not answer\n +start it/);
    expect(stdout).toContain("install the CLI of the hub's version");
    expect((await run(["doctor"], { env: home.env })).status).toBe(6);
  });
});

describe("colours", () => {
  it("come on a terminal, and obey NO_COLOR and FORCE_COLOR", async () => {
    const fleet = await withHub({ "GET /fleets": () => page([fleetRow()]) });
    expect((await fleet("status")).stdout).not.toContain("\u001B");
    expect((await fleet("status", { terminalRows: 24 })).stdout).toContain("\u001B[32mSynced");
    expect((await fleet("status", { terminalRows: 24, env: { NO_COLOR: "1" } })).stdout).not.toContain("\u001B");
    expect((await fleet("status", { env: { FORCE_COLOR: "1" } })).stdout).toContain("\u001B[32mSynced");
  });
});

describe("completion", () => {
  it("offers commands, flags and the names that the hub knows", async () => {
    const fleet = await withHub({ "GET /fleets": () => page([fleetRow(), fleetRow({ name: "bank" })]), "GET /clusters": () => page([clusterRow()]) });
    const offers = async (words: string[]) =>
      (await run(["__complete", "--", ...words], { hub, env: home.env })).stdout.split("\n").map((line) => line.split("\t")[0]);
    expect(await offers(["hist"])).toContain("history");
    expect(await offers(["cluster", ""])).toContain("label");
    expect(await offers(["status", "--w"])).toContain("--watch");
    expect(await offers(["status", "s"])).toContain("shop");
    expect(await offers(["status", "s"])).not.toContain("bank");
    expect(await offers(["cluster", "show", ""])).toContain("berlin-1");
    expect(await offers(["events", "--fleet", "ba"])).toContain("bank");
    expect((await fleet("completion bash")).stdout).toContain("complete -o default -F _fleet_complete fleet");
    expect((await fleet("completion tcsh")).status).toBe(2);
  });

  it("offers nothing, and no error, without a hub", async () => {
    expect(await run(["__complete", "--", "status", "s"], { env: home.env })).toMatchObject({ status: 0, stderr: "" });
  });
});

describe("help", () => {
  it("has examples for every command", async () => {
    const commands = [
      "status",
      "list",
      "show",
      "create",
      "delete",
      "sync",
      "suspend",
      "resume",
      "suspensions",
      "window override",
      "window restore",
      "diff",
      "forge set",
      "forge test",
      "forge list",
      "forge checks",
      "forge check",
      "forge remove",
      "notify set",
      "notify list",
      "notify remove",
      "token create",
      "token list",
      "token revoke",
      "wait",
      "history",
      "trace",
      "render",
      "lint",
      "events",
      "drift list",
      "drift show",
      "drift accept",
      "health rules",
      "cluster add",
      "cluster list",
      "cluster show",
      "cluster label",
      "cluster remove",
      "cluster token",
      "agent install",
      "agent uninstall",
      "agent run",
      "hub start",
      "login",
      "context list",
      "context use",
      "doctor",
      "version",
      "completion",
    ];
    for (const command of commands) {
      const { status, stdout } = await run([...command.split(" "), "--help"], { env: home.env });
      expect(status, command).toBe(0);
      expect(stdout, command).toMatch(/EXAMPLES\n {2}/);
    }
  });
});
