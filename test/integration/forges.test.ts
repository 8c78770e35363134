import { randomBytes } from "node:crypto";
import type { Preview, PreviewObject } from "@flotilla/proto/rest/contract";
import type { Actor } from "@flotilla/hub/domain/actor";
import { emptyPreview, previewRow } from "@flotilla/hub/domain/preview";
import { ForgeError } from "@flotilla/hub/forge/forge-error";
import { type Forge, openForge, putComment } from "@flotilla/hub/forge/open-forge";
import { createFleet } from "@flotilla/hub/store/create-fleet";
import {
  forgetPullRequest,
  isNewestWord,
  listCheckedFleets,
  listDuePullRequests,
  listDueStatuses,
  noteStatusFailed,
  noteStatusSent,
  saveCheck,
} from "@flotilla/hub/store/deliveries";
import { askForCheck, hearPullRequest, readForge, readForges, readPullRequests, removeForge, setForge, setNotifyHook } from "@flotilla/hub/store/forges";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { sealingWith } from "@flotilla/hub/store/sealing";
import { wantCommitStatus, wantNotification } from "@flotilla/hub/store/tell-outside";
import { checkPullRequest, type CheckPorts } from "@flotilla/hub/sync/check-pull-request";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FakeForge, startFakeForge } from "../harness/fake-forge.ts";
import { createTestDatabase, type TestDatabase } from "../harness/postgres.ts";

const head = "1".repeat(40);
const words = { pending: "pending", success: "success", failure: "failure" };
const stateWords = { github: words, gitea: words, gitlab: { pending: "running", success: "success", failure: "failed" } };

describe.each(["github", "gitlab", "gitea"] as const)("a forge of the kind %s", (kind) => {
  let fake: FakeForge;
  let forge: Forge;
  const open = (token = fake.token): Forge => openForge({ kind, apiUrl: fake.apiUrl, project: "flotilla/shop", token });
  const failure = async (work: Promise<unknown>): Promise<ForgeError> => {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ForgeError);
    return error as ForgeError;
  };

  beforeEach(async () => {
    fake = await startFakeForge(kind);
    forge = open();
  });
  afterEach(() => fake.stop());

  it("takes a commit's status, cut to what it takes, and the same one again", async () => {
    await forge.setStatus(head, { state: "pending", context: "flotilla/shop", description: "x".repeat(1_000) });
    await forge.setStatus(head, { state: "pending", context: "flotilla/shop", description: "x".repeat(1_000) });
    await forge.setStatus(head, { state: "failure", context: "flotilla/shop", description: "no" });
    const states = stateWords[kind];
    expect(fake.statuses.at(0)).toMatchObject({ commit: head, context: "flotilla/shop", state: states.pending });
    expect(fake.statuses.at(-1)).toMatchObject({ state: states.failure, description: "no" });
  });

  it("says of a pull request whether it is open, from where it comes and where it goes", async () => {
    fake.pullRequests.set(17, { head, base: "main", isOpen: true, isFork: true });
    expect(await forge.readPullRequest(17)).toEqual({ number: 17, isOpen: true, head, base: "main", isFork: true });
    fake.pullRequests.set(17, { head, base: "main", isOpen: false, isFork: false });
    expect(await forge.readPullRequest(17)).toMatchObject({ isOpen: false, isFork: false });
    expect(await forge.readPullRequest(18)).toBeUndefined();
  });

  it("has one comment for each fleet, written over in place, found again on a later page, and made again when it was deleted", async () => {
    for (let index = 0; index < 130; index += 1) await forge.addComment(17, `chatter ${index}`);
    const put = (body: string, known?: string) => putComment(forge, { number: 17, fleet: "shop", body, known });
    const id = await put("one");
    expect(await put("two", id)).toBe(id);
    // Whoever forgot its number finds it by its marker.
    expect(await put("three")).toBe(id);
    await putComment(forge, { number: 17, fleet: "shop-2", body: "another", known: undefined });
    const ours = () => fake.comments.filter(({ body }) => body.includes("flotilla fleet=shop "));
    expect(ours().map(({ body, edits }) => [body.split("\n")[1], edits])).toEqual([["three", 2]]);
    fake.deleteComment(Number(id));
    const again = await put("four", id);
    expect(again).not.toBe(id);
    expect(ours()).toHaveLength(1);
  });

  it("says what a token may do", async () => {
    expect(await forge.describe()).toBe("flotilla/shop: the token may write");
    fake.level = "read";
    expect(await forge.describe()).toMatch(/may only read|may not set statuses/);
  });

  it("that refuses says why, what is to be done, and never the token", async () => {
    const unknown = await failure(open("another-token").setStatus(head, { state: "pending", context: "c", description: "" }));
    expect(unknown).toMatchObject({ status: 401, againMs: undefined, hint: expect.stringContaining("fleet forge set") });
    fake.level = "read";
    const weak = await failure(forge.addComment(17, "hello"));
    expect(weak).toMatchObject({ status: 403, againMs: undefined, hint: expect.stringContaining("lacks a right") });
    fake.level = "none";
    const blind = await failure(forge.describe());
    expect(blind).toMatchObject({ status: 404, hint: expect.stringContaining("does not see the repository") });
    // It must not look as if there were no such pull request: then it would be forgotten.
    expect(await failure(forge.readPullRequest(17))).toMatchObject({ status: 404, hint: expect.stringContaining("does not see the repository") });
    for (const error of [unknown, weak, blind]) expect(`${error.message} ${error.hint} ${error.stack}`).not.toContain(fake.token);
  });

  it("that has trouble is asked again, but what may have been done is not done twice", async () => {
    fake.answers.push({ status: 502 }, { status: 503 });
    fake.pullRequests.set(17, { head, base: "main", isOpen: true, isFork: false });
    expect(await forge.readPullRequest(17)).toMatchObject({ head });
    expect(fake.requests).toHaveLength(3);
    fake.answers.push({ status: 502 });
    expect(await failure(forge.addComment(17, "hello"))).toMatchObject({ status: 502, againMs: expect.any(Number) });
    expect(fake.comments).toEqual([]);
  });

  it("that wants to be left alone is left alone as long as it says", async () => {
    fake.answers.push({ status: 429, headers: { "retry-after": "1" } });
    await forge.describe();
    expect(fake.requests).toHaveLength(2);
    fake.answers.push({ status: 429, headers: { "retry-after": "120" } });
    expect(await failure(forge.describe())).toMatchObject({ againMs: 120_000 });
    const reset = String(Math.floor(Date.now() / 1_000) + 600);
    fake.answers.push({ status: 403, headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset }, body: { message: "API rate limit exceeded" } });
    const limited = await failure(forge.describe());
    expect(limited.againMs).toBeGreaterThan(500_000);
    expect(limited.againMs).toBeLessThanOrEqual(3_600_000);
  });

  it("is not followed to another address, and what is no forge is told apart", async () => {
    fake.answers.push({ status: 301, headers: { location: "https://elsewhere.example.com/" } });
    expect(await failure(forge.describe())).toMatchObject({ status: 301, message: expect.stringContaining("elsewhere.example.com") });
    fake.answers.push({ status: 200, body: ["something else"] });
    expect(await failure(forge.readPullRequest(17))).toMatchObject({ hint: expect.stringContaining("--kind") });
    await fake.stop();
    expect(await failure(forge.addComment(17, "hello"))).toMatchObject({ status: 0, message: expect.stringMatching(/^127\.0\.0\.1:\d+ cannot be reached/) });
  });
});

describe("the check of a pull request", () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let fake: FakeForge;
  let previews: { fleet: string; revision: string }[];
  let found: Partial<Preview>;
  /** Called while a preview is made. */
  let meanwhile: () => Promise<unknown>;
  const sealing = sealingWith(randomBytes(32));
  const actor: Actor = { id: "tester", source: "127.0.0.1", reason: "" };
  const url = "https://forge.example.com/flotilla/shop.git";

  beforeEach(async () => {
    database = await createTestDatabase({
      migrate: async (migrated) => {
        const own = openPool({ url: migrated });
        await migrate(own).finally(() => own.end());
      },
    });
    pool = openPool({ url: database.url });
    fake = await startFakeForge("gitea");
    previews = [];
    found = { same: ["a"] };
    meanwhile = async () => undefined;
    for (const [name, branch] of [
      ["shop", "main"],
      ["shop-next", "next"],
    ] as const)
      await createFleet(pool, sealing, actor, { name, url, ref: { branch }, path: "", selector: null });
    await setForge(pool, sealing, actor, "shop", { kind: "gitea", apiUrl: fake.apiUrl, token: fake.token, forks: false });
    fake.pullRequests.set(17, { head, base: "main", isOpen: true, isFork: false });
  });
  afterEach(async () => {
    await fake.stop();
    await pool.end();
    await database.drop();
  });

  const ports = (): CheckPorts => ({
    async openForge(repositoryId) {
      const place = await readForge(pool, sealing, repositoryId);
      if (!place) return undefined;
      const forge = openForge(place);
      return { forks: place.forks, forge: { ...forge, putComment: (wanted) => putComment(forge, wanted) } };
    },
    listCheckedFleets: (repositoryId, number, base) => listCheckedFleets(pool, repositoryId, number, base),
    saveCheck: (heard, check) => saveCheck(pool, heard, check),
    isNewestWord: (heard) => isNewestWord(pool, heard),
    async preview(fleet, revision) {
      previews.push({ fleet, revision });
      await meanwhile();
      const now = new Date();
      return { ...previewRow({ id: "p", fleet, createdAt: now, endedAt: now, found: { ...emptyPreview("a revision"), phase: "Done", revision } }), ...found };
    },
  });
  const hear = async (number = 17): Promise<void> => {
    const { rows } = await pool.query<{ id: string }>("SELECT id::text AS id FROM repositories");
    expect(await hearPullRequest(pool, rows[0]?.id ?? "", number)).toBe(true);
  };
  const check = async () => {
    const [due] = await listDuePullRequests(pool);
    if (!due) throw new Error("nothing is due");
    return checkPullRequest(ports(), due, new AbortController().signal);
  };
  const said = () => fake.statuses.map(({ context, state, description }) => `${context} ${state}: ${description}`);
  const object = (action: PreviewObject["action"], message = ""): PreviewObject => ({
    object: "/ConfigMap/shop/web",
    bundle: "web",
    action,
    message,
    fields: [],
    moreFields: 0,
  });

  it("tells it what it would do to the fleets that follow its branch: one status, one comment", async () => {
    found = { groups: [{ clusters: ["a", "b"], objects: [object("create")], leftOut: 0, unchanged: 3 }] };
    await hear();
    expect(await check()).toBe("done");
    expect(previews).toEqual([{ fleet: "shop", revision: head }]);
    expect(said()).toEqual(["flotilla/shop pending: finding out what it would do to every cluster", "flotilla/shop success: 1 created on 2 clusters"]);
    expect(fake.comments).toHaveLength(1);
    expect(fake.comments[0]?.body).toMatch(/^<!-- flotilla fleet=shop -->\n### Flotilla: fleet shop\n\n1 created on 2 clusters\.\n/);
    expect(await readPullRequests(pool, "shop")).toMatchObject([{ number: 17, head, state: "success", headline: "1 created on 2 clusters" }]);
  });

  it("says nothing again when the same is heard twice, and writes its comment over when there is a new commit", async () => {
    await hear();
    await check();
    await hear();
    await check();
    expect(previews).toHaveLength(1);
    expect(fake.statuses).toHaveLength(2);
    const newer = "2".repeat(40);
    fake.pullRequests.set(17, { head: newer, base: "main", isOpen: true, isFork: false });
    await hear();
    await check();
    expect(fake.comments.map(({ edits }) => edits)).toEqual([1]);
    expect(fake.statuses.at(-1)?.commit).toBe(newer);
    // A person who asks gets it made anew.
    await askForCheck(pool, actor, "shop", 17);
    await check();
    expect(previews).toHaveLength(3);
    expect(fake.comments).toHaveLength(1);
  });

  it("tells only of the newest commit when there is a push in the middle", async () => {
    await hear();
    const newer = "2".repeat(40);
    meanwhile = async () => {
      meanwhile = async () => undefined;
      fake.pullRequests.set(17, { head: newer, base: "main", isOpen: true, isFork: false });
      await hear();
    };
    expect(await check()).toBe("superseded");
    expect(fake.comments).toEqual([]);
    expect(await check()).toBe("done");
    expect(fake.statuses.filter(({ state }) => state !== "pending").map(({ commit }) => commit)).toEqual([newer]);
  });

  it("fails when something would be refused, or when it cannot be rendered, and says what", async () => {
    found = { groups: [{ clusters: ["a"], objects: [object("refuse", "denied: no")], leftOut: 0, unchanged: 0 }] };
    await hear();
    await check();
    expect(said().at(-1)).toBe("flotilla/shop failure: 1 refused on 1 cluster; not everything would be applied on 1 cluster: ConfigMap/shop/web: denied: no");
    found = { phase: "Failed", problems: [{ code: "x", message: "no objects", file: "web/a.yaml", line: 3, hint: "write some" }] };
    await askForCheck(pool, actor, "shop", 17);
    await check();
    expect(said().at(-1)).toBe("flotilla/shop failure: cannot be previewed: web/a.yaml:3: no objects (write some)");
    expect(fake.comments[0]?.body).toContain("- `web/a.yaml:3: no objects (write some)`");
  });

  it("is an error only when no cluster answered at all", async () => {
    found = { unknown: [{ clusters: ["a"], reason: "it is away" }], same: ["b"] };
    await hear();
    await check();
    expect(said().at(-1)).toContain("flotilla/shop success: nothing would change where clusters have answered");
    found = { unknown: [{ clusters: ["a"], reason: "it is away" }], same: [] };
    await askForCheck(pool, actor, "shop", 17);
    await check();
    expect(said().at(-1)).toContain("flotilla/shop error: ");
  });

  it("keeps its comment to what a forge takes", async () => {
    const objects = Array.from({ length: 400 }, (_, index) => ({ ...object("refuse", "because ".repeat(100)), object: `/ConfigMap/shop/web-${index}` }));
    found = { groups: Array.from({ length: 40 }, (_, index) => ({ clusters: [`c-${index}`], objects, leftOut: 0, unchanged: 0 })) };
    await hear();
    await check();
    expect(fake.comments[0]?.body.length).toBeLessThanOrEqual(65_536);
    expect(fake.comments[0]?.body).toContain("fleet diff shows all of it");
  });

  it("says nothing to a closed one, nor to one of a stranger's repository unless that is wanted", async () => {
    fake.pullRequests.set(17, { head, base: "main", isOpen: false, isFork: false });
    await hear();
    expect(await check()).toBe("closed");
    const [due] = await listDuePullRequests(pool);
    if (due) await forgetPullRequest(pool, due);
    expect(await listDuePullRequests(pool)).toEqual([]);
    fake.pullRequests.set(18, { head, base: "main", isOpen: true, isFork: true });
    await hear(18);
    expect(await check()).toBe("done");
    expect([previews, fake.statuses, fake.comments]).toEqual([[], [], []]);
    await setForge(pool, sealing, actor, "shop", { kind: "gitea", apiUrl: fake.apiUrl, token: fake.token, forks: true });
    expect(await check()).toBe("done");
    expect(previews).toHaveLength(1);
  });

  it("is not heard of where there is no forge; a token is sealed, and gone with its forge", async () => {
    const { rows } = await pool.query<{ id: string; sealed: Buffer }>("SELECT repository_id::text AS id, sealed_token AS sealed FROM forges");
    expect(rows[0]?.sealed.toString("latin1")).not.toContain(fake.token);
    expect(JSON.stringify(await readForges(pool))).not.toContain(fake.token);
    await hear();
    await removeForge(pool, actor, "shop");
    expect(await hearPullRequest(pool, rows[0]?.id ?? "", 17)).toBe(false);
    expect(await listDuePullRequests(pool)).toEqual([]);
    await expect(removeForge(pool, actor, "shop")).rejects.toMatchObject({ code: "not-found", hint: "fleet forge set shop" });
    await expect(setForge(pool, sealing, actor, "shop", { token: "t", forks: false })).rejects.toMatchObject({ hint: expect.stringContaining("--kind") });
  });
});

describe("what waits to be said", () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  const sealing = sealingWith(randomBytes(32));
  const actor: Actor = { id: "tester", source: "127.0.0.1", reason: "" };

  beforeEach(async () => {
    database = await createTestDatabase({
      migrate: async (migrated) => {
        const own = openPool({ url: migrated });
        await migrate(own).finally(() => own.end());
      },
    });
    pool = openPool({ url: database.url });
    await createFleet(pool, sealing, actor, { name: "shop", url: "https://github.com/flotilla/shop.git", ref: { branch: "main" }, path: "", selector: null });
  });
  afterEach(async () => {
    await pool.end();
    await database.drop();
  });

  const inClient = async (work: (client: pg.PoolClient) => Promise<void>): Promise<void> => {
    const client = await pool.connect();
    await work(client).finally(() => client.release());
  };
  const want = (state: "pending" | "success", description: string) =>
    inClient((client) => wantCommitStatus(client, { fleet: "shop", revision: head, state, description }));

  it("is the newest word of a commit only, and is said again when it was not taken", async () => {
    await want("pending", "nobody hears this: there is no forge");
    expect(await listDueStatuses(pool)).toEqual([]);
    expect(await setForge(pool, sealing, actor, "shop", { token: "t", forks: false })).toMatchObject({
      kind: "github",
      apiUrl: "https://api.github.com",
      project: "flotilla/shop",
      fleets: ["shop"],
    });
    await want("pending", "wave 1");
    const [first] = await listDueStatuses(pool);
    await want("success", "done");
    const due = await listDueStatuses(pool);
    expect(due).toMatchObject([{ fleet: "shop", sha: head, state: "success", description: "done" }]);
    // What was said of the older word does not count for the newer.
    if (first) await noteStatusSent(pool, first);
    expect(await listDueStatuses(pool)).toHaveLength(1);
    const [newest] = due;
    if (!newest) throw new Error("nothing is due");
    await noteStatusFailed(pool, newest, 60_000);
    expect(await listDueStatuses(pool)).toEqual([]);
    // A new token is tried at once.
    await setForge(pool, sealing, actor, "shop", { token: "u", forks: false });
    expect(await listDueStatuses(pool)).toHaveLength(1);
    await noteStatusSent(pool, newest);
    await want("success", "done");
    expect(await listDueStatuses(pool)).toEqual([]);
  });

  it("goes to the receivers of the fleet and of all, as a CloudEvent each", async () => {
    const word = { type: "dev.flotilla.rollout.failed", fleet: "shop", revision: head, cluster: "eu-1", message: "no" } as const;
    await inClient((client) => wantNotification(client, word));
    await setNotifyHook(pool, sealing, actor, { fleet: undefined, url: "https://all.example.com", secret: "12345678" });
    await setNotifyHook(pool, sealing, actor, { fleet: "shop", url: "https://shop.example.com", secret: "12345678" });
    await inClient((client) => wantNotification(client, word));
    const { rows } = await pool.query<{ hook: string; body: Record<string, unknown> }>("SELECT hook, body FROM notifications ORDER BY hook");
    expect(rows.map(({ hook }) => hook)).toEqual(["", "shop"]);
    expect(rows[0]?.body).toMatchObject({
      specversion: "1.0",
      type: "dev.flotilla.rollout.failed",
      source: "flotilla",
      subject: "shop",
      data: { fleet: "shop", revision: head, cluster: "eu-1", message: "no" },
    });
    await expect(setNotifyHook(pool, sealing, actor, { fleet: "bank", url: "https://x.example.com", secret: "12345678" })).rejects.toMatchObject({
      code: "not-found",
    });
  });
});
