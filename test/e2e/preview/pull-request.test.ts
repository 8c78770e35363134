import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { mkdir, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type FakeForge, startFakeForge } from "../../harness/fake-forge.ts";
import { fleetCli } from "../../harness/fleet-cli.ts";
import type { GitRepository } from "../../harness/git-server.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles: [{ name: web, path: web }]
  rollout:
    waves: [{ name: all }]
    progressDeadline: 5s
`;
const configMap = (value: string) =>
  `${JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "web", namespace: "default" }, data: { value } })}\n`;
const frozen = (value: string) =>
  `${JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "frozen", namespace: "default" }, data: { value }, immutable: true })}\n`;

await describeWith([...kubeTools, "nats-server"], "a pull request", () => {
  let platform: Platform;
  let repository: GitRepository;
  let fake: FakeForge;
  let webhook: { path: string; secret: string };
  let receiver: Server;
  const received: { signature: string; body: string }[] = [];
  const secret = "a secret of the receiver";

  beforeAll(async () => {
    fake = await startFakeForge("gitea");
    receiver = createServer((request, response) => {
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        received.push({ signature: String(request.headers["x-flotilla-signature"]), body: Buffer.concat(chunks).toString("utf8") });
        response.writeHead(204).end();
      })();
    });
    receiver.listen(0, "127.0.0.1");
    await once(receiver, "listening");
    platform = await startPlatform({ clusters: [{ name: "one", labels: { shop: "true" } }] });
    repository = await platform.git.createRepository("shop");
    const first = await repository.commit({ "fleet.yaml": fleetFile, "web/web.yaml": configMap("1"), "web/frozen.yaml": frozen("1") }, { message: "First" });
    const created = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    webhook = { path: created.webhook.path, secret: created.webhook.secret ?? "" };
    await platform.converged("shop", first);
    await mkdir(join(platform.folder, "config"), { recursive: true });
    await writeFile(join(platform.folder, "token"), `${fake.token}\n`);
    await writeFile(join(platform.folder, "secret"), secret);
  }, 180_000);
  afterAll(async () => {
    await platform?.stop();
    await fake?.stop();
    receiver?.closeAllConnections();
    receiver?.close();
  });

  const fleet = fleetCli(() => platform);
  /** As Gitea and Forgejo sign and send it. */
  const send = async (event: string, payload: object): Promise<number> => {
    const body = JSON.stringify({ ...payload, repository: { clone_url: repository.url, full_name: "flotilla/shop" } });
    const response = await fetch(`${platform.hub.url}${webhook.path}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-gitea-event": event,
        "x-gitea-delivery": randomUUID(),
        "x-gitea-signature": createHmac("sha256", webhook.secret).update(body).digest("hex"),
      },
      body,
    });
    await response.body?.cancel();
    return response.status;
  };
  const open = (head: string): Map<number, unknown> => fake.pullRequests.set(17, { head, base: "main", isOpen: true, isFork: false });
  const tell = (action: string) => send("pull_request", { action, number: 17, pull_request: { number: 17, state: "open" } });
  const push = async (value: string): Promise<string> => {
    const revision = await repository.commit({ "web/web.yaml": configMap(value), "web/frozen.yaml": frozen("1") }, { message: `Value ${value}` });
    await send("push", { ref: "refs/heads/main", after: revision });
    return revision;
  };
  const lastOf = (commit: string) => fake.statuses.findLast((status) => status.commit === commit);
  const until = (what: string, commit: string, state: string) =>
    waitForValue(
      () => Promise.resolve(lastOf(commit)),
      (status) => status?.state === state,
      { what, timeoutMs: 60_000, everyMs: 50 },
    );

  it("has a forge, which says what the token may do", async () => {
    const set = await fleet("forge", "set", "shop", "--kind", "gitea", "--api-url", fake.apiUrl, "--token-file", join(platform.folder, "token"));
    expect(set.status, set.output).toBe(0);
    expect(set.output).not.toContain(fake.token);
    // The repository has another name on the harness' Git server than on its forge.
    expect((await fleet("forge", "test", "shop")).output).toMatch(/404/);
  });

  it("is told by one status and one comment what it would do, before anybody merges it", async () => {
    const bare = await startProject();
    expect(bare.status, bare.output).toBe(0);
    await repository.createBranch("feature");
    const head = await repository.commit({ "web/web.yaml": configMap("2") }, { branch: "feature", message: "Two" });
    open(head);
    expect(await tell("opened")).toBe(202);
    const status = await until("the pull request is told", head, "success");
    expect(status).toMatchObject({ context: "flotilla/shop", description: "1 configured on 1 cluster" });
    expect(fake.comments).toHaveLength(1);
    expect(fake.comments[0]?.body).toContain('| ~ | `ConfigMap/default/web` | configure<br>`/data/value` `"1"` → `"2"` |');
    const checks = await fleet("forge", "checks", "shop");
    expect(checks.stdout).toMatch(/^17 +[0-9a-f]{12} +success +\S+ ago +1 configured on 1 cluster/m);
  }, 90_000);

  it("is told of its newest commit in the same comment, also of what would be refused", async () => {
    const head = await repository.commit({ "web/frozen.yaml": frozen("2") }, { branch: "feature", message: "Three" });
    open(head);
    await send("pull_request_sync", { action: "synchronized", number: 17, pull_request: { number: 17 } });
    const status = await until("the new commit is told", head, "failure");
    expect(status?.description).toContain("1 configured, 1 refused on 1 cluster; not everything would be applied on 1 cluster: ConfigMap/default/frozen");
    expect(fake.comments.map(({ edits }) => edits)).toEqual([1]);
  }, 90_000);

  it("is told all the same when the hub is killed in the middle", async () => {
    const head = await repository.commit({ "web/frozen.yaml": frozen("1"), "web/web.yaml": configMap("4") }, { branch: "feature", message: "Four" });
    open(head);
    await tell("synchronized");
    await until("the preview has begun", head, "pending");
    await platform.hub.kill9();
    await platform.hub.restart();
    await until("the pull request is told by the next hub", head, "success");
    expect(fake.comments).toHaveLength(1);
  }, 120_000);

  it("is forgotten when it is closed, and made anew on request where no webhook comes", async () => {
    const before = fake.statuses.length;
    fake.deleteComment(fake.comments[0]?.id ?? 0);
    expect((await fleet("forge", "check", "shop", "17")).status).toBe(0);
    await waitForValue(
      () => Promise.resolve(fake.comments.length),
      (count) => count === 1,
      { what: "the comment is made again", timeoutMs: 60_000 },
    );
    expect(fake.statuses.length).toBeGreaterThan(before);
    const head = lastOf(fake.pullRequests.get(17)?.head ?? "")?.commit ?? "";
    fake.pullRequests.set(17, { head, base: "main", isOpen: false, isFork: false });
    await tell("closed");
    await waitForValue(
      async () => (await fleet("forge", "checks", "shop", "-o", "json")).stdout,
      (rows) => (JSON.parse(rows) as { items: unknown[] }).items.length === 0,
      { what: "it is forgotten", timeoutMs: 60_000 },
    );
  }, 120_000);

  it("once merged has a status that says what its rollout does, and a receiver is told how that ends", async () => {
    const set = await fleet(
      ...["notify", "set", "--fleet", "shop", "--url", `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`],
      ...["--secret-file", join(platform.folder, "secret")],
    );
    expect(set.status, set.output).toBe(0);
    const good = await push("5");
    await until("the good commit is rolled out", good, "success");
    expect(lastOf(good)?.description).toBe("rolled out: healthy on 1 cluster");
    expect(fake.statuses.find(({ commit }) => commit === good)).toMatchObject({ state: "pending", description: "rolling out: wave all (1 of 1)" });
    const bad = await repository.commit({ "web/frozen.yaml": frozen("2") }, { message: "Bad" });
    await send("push", { ref: "refs/heads/main", after: bad });
    const failed = await until("the bad commit has failed", bad, "failure");
    expect(failed?.description).toMatch(/^roll(ing|ed) back: one: .*ConfigMap default\/frozen/);
    await waitForValue(
      () => Promise.resolve(lastOf(bad)?.description),
      (description) => description?.startsWith("rolled back: ") ?? false,
      { what: "the status says that it is back", timeoutMs: 90_000 },
    );
    await waitForValue(
      () => Promise.resolve(received.length),
      (count) => count >= 2,
      { what: "the receiver was told", timeoutMs: 60_000 },
    );
    const events = received.map(({ body }) => JSON.parse(body) as { type: string; data: { revision: string; cluster: string; message: string } });
    expect(events.map(({ type, data }) => [type, data.revision])).toEqual([
      ["dev.flotilla.rollout.done", good],
      ["dev.flotilla.rollout.failed", bad],
    ]);
    expect(events[1]?.data).toMatchObject({ cluster: "one", message: expect.stringContaining("ConfigMap default/frozen") });
    for (const { signature, body } of received) expect(signature).toBe(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
  }, 180_000);

  it("is told when its forge is there again, and nobody waited for that", async () => {
    fake.isSilent = true;
    const value = await push("6");
    await platform.converged("shop", value);
    fake.isSilent = false;
    await until("the commit's status arrives", value, "success");
    const listed = await fleet("forge", "list");
    expect(listed.stdout).toContain(" gitea ");
  }, 150_000);

  /** The harness' repository is called otherwise than the forge's. */
  function startProject() {
    return fleet(
      "forge",
      "set",
      "shop",
      "--kind",
      "gitea",
      "--api-url",
      fake.apiUrl,
      "--project",
      "flotilla/shop",
      "--token-file",
      join(platform.folder, "token"),
    );
  }
});
