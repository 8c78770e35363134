import type { ApprovalRow, AuditRow, HeldPruneRow, Page } from "@flotilla/proto/rest/contract";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GitRepository } from "../../harness/git-server.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { runService } from "../../harness/spawn-service.ts";
import { hasTerminal, runOnTerminal } from "../../harness/terminal.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor, waitForValue } from "../../harness/wait-for.ts";

const configMap = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\n`;
const names = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `m-${index + from}`);
const clusters = ["held-1", "held-2"];

await describeWith([...kubeTools, "nats-server"], "held prunes and the word of a person", () => {
  let platform: Platform;
  let repository: GitRepository;
  const api = () => platform.hub.api;
  const live = async (cluster: string) => {
    const { items } = (await platform.member(cluster).kube.client.get("/api/v1/namespaces/default/configmaps")) as unknown as {
      items: { metadata: { name: string } }[];
    };
    return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("m-"));
  };
  const held = async () => (await api().request<Page<HeldPruneRow>>("GET", "/api/v1/fleets/shop/held-prunes")).items;
  const approvals = async () => (await api().request<Page<ApprovalRow>>("GET", "/api/v1/approvals?fleet=shop&kind=prune")).items;
  const env = () => ({
    FLOTILLA_HUB: platform.hub.url,
    FLOTILLA_TOKEN: api().token,
    HOME: platform.folder,
    XDG_CONFIG_HOME: join(platform.folder, "config"),
  });
  const fleet = (...args: string[]) => runService("cli", { args, env: env(), timeoutMs: 60_000 });
  const write = (wanted: readonly string[], before: readonly string[]) =>
    repository.commit({
      ...Object.fromEntries(before.filter((name) => !wanted.includes(name)).map((name) => [`${name}.yaml`, null])),
      ...Object.fromEntries(wanted.map((name) => [`${name}.yaml`, configMap(name)])),
    });
  const allHeld = (revision: string, objects: number) =>
    waitForValue(
      held,
      (rows) => rows.length === 2 && rows.every((row) => row.whole && row.revision === revision && row.objects === objects && row.approvedBy === null),
      {
        what: `${objects} prunes of ${revision.slice(0, 12)} held in both clusters`,
        timeoutMs: 60_000,
      },
    );

  beforeAll(async () => {
    platform = await startPlatform({ clusters: clusters.map((name) => ({ name })) });
    repository = await platform.git.createRepository("shop");
    const revision = await write(names(20), []);
    await api().createFleet({ name: "shop", repository: repository.url, selector: {}, pollIntervalMs: 1_000 });
    await platform.converged("shop", revision);
  });
  afterAll(() => platform?.stop());

  it("are shown by the CLI with their list, and nothing goes without a yes", async () => {
    const revision = await write(names(10), names(20));
    await allHeld(revision, 10);
    const shown = await fleet("approve", "prune", "shop", "--cluster", "held-1");
    expect(shown.status).toBe(2);
    expect(shown.output).toContain("10 objects of fleet shop would be deleted in 1 cluster: held-1");
    expect(shown.output).toMatch(/10 of 20 objects would be deleted, 5 are allowed/);
    for (const name of names(10, 10)) expect(shown.output).toContain(name);
    for (const cluster of clusters) expect((await live(cluster)).length).toBe(20);
    expect((await fleet("status", "shop")).output).toContain("fleet approve prune shop --cluster held-1");
  });

  it.runIf(hasTerminal)("are asked about on a terminal: no leaves them, and so does anything but yes", async () => {
    for (const answer of ["n", "", "maybe"]) {
      const { status, shown } = await runOnTerminal(["approve", "prune", "shop", "--cluster", "held-1"], { env: env(), question: /\[y\/N\] /, answer });
      expect(status, shown).toBe(1);
      expect(shown).toContain("10 objects of fleet shop would be deleted in 1 cluster: held-1");
      expect(shown).toContain("Let 10 objects be deleted in 1 cluster? [y/N]");
      expect(shown).toContain("not confirmed; nothing was changed");
    }
    expect(await approvals()).toEqual([]);
    expect((await live("held-1")).length).toBe(20);
  });

  it("go in the one cluster for which the list that was seen is approved, and in no other", async () => {
    const [row] = await held();
    const approved = await fleet("approve", "prune", "shop", "--cluster", "held-1", "--digest", row?.digest ?? "", "--reason", "they are old");
    expect(approved.status, approved.output).toBe(0);
    await waitForValue(
      () => live("held-1"),
      (found) => found.length === 10,
      { what: "the approved prunes done", timeoutMs: 30_000 },
    );
    expect((await live("held-2")).length).toBe(20);
    const [approval] = await waitForValue(approvals, (rows) => rows[0]?.outcome === "used", { what: "the approval used", timeoutMs: 30_000 });
    expect(approval).toMatchObject({
      cluster: "held-1",
      digest: row?.digest,
      reason: "they are old",
      subjects: names(10, 10)
        .map((name) => `/ConfigMap/default/${name}`)
        .sort(),
    });
    const { items } = await api().request<Page<AuditRow>>("GET", "/api/v1/audit?act=prune.approve");
    expect(items).toMatchObject([{ cluster: "held-1", outcome: "done", reason: "they are old" }]);
    expect((await held()).map(({ cluster }) => cluster)).toEqual(["held-2"]);
    expect((await fleet("approve", "list", "--fleet", "shop")).output).toMatch(/prune +shop +held-1 +10 objects .* used +they are old/);
  });

  it("stay when another revision came between the look and the word", async () => {
    const [seen] = await held();
    const revision = await write(names(9), names(10));
    await waitForValue(held, (rows) => rows.some((row) => row.cluster === "held-2" && row.revision === revision && row.whole), {
      what: "the newer list",
      timeoutMs: 60_000,
    });
    const late = await fleet("approve", "prune", "shop", "--cluster", "held-2", "--digest", seen?.digest ?? "");
    expect(late.status).toBe(1);
    expect(late.output).toContain("holds another list");
    const raced = await api()
      .request("POST", "/api/v1/fleets/shop/prune-approvals", { clusters: ["held-2"], revision: seen?.revision, digest: seen?.digest })
      .catch((error: unknown) => (error as { status: number }).status);
    expect(raced).toBe(409);
    expect((await live("held-2")).length).toBe(20);
  });

  it("go when the agent comes back to an approval that was given while it was away, and one of them is gone already", async () => {
    const [row] = await held();
    const { agent } = platform.member("held-2");
    await agent.stop();
    const approved = await fleet("approve", "prune", "shop", "--cluster", "held-2", "--digest", row?.digest ?? "");
    expect(approved.status, approved.output).toBe(0);
    expect((await live("held-2")).length).toBe(20);
    await platform.member("held-2").kube.client.delete("/api/v1/namespaces/default/configmaps/m-19");
    await agent.restart();
    await waitForValue(
      () => live("held-2"),
      (found) => found.length === 9,
      { what: "the approved prunes done", timeoutMs: 60_000 },
    );
    await waitForValue(approvals, (rows) => rows[0]?.outcome === "used", { what: "the approval used", timeoutMs: 30_000 });
  });

  it("are what a bundle becomes that a new revision of fleet.yaml no longer has", async () => {
    const pair = await platform.git.createRepository("pair");
    const fleetYaml = (...bundles: string[]) =>
      `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: pair }\nspec:\n  clusters: {}\n  bundles: [${bundles.map((name) => `{ name: ${name} }`).join(", ")}]\n`;
    const objects = (bundle: string, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`${bundle}/${index}.yaml`, configMap(`${bundle}-${index}`)]));
    const first = await pair.commit({ "fleet.yaml": fleetYaml("stays", "goes"), ...objects("stays", 2), ...objects("goes", 8) });
    await api().createFleet({ name: "pair", repository: pair.url, pollIntervalMs: 1_000 });
    await platform.converged("pair", first);
    const second = await pair.commit({ "fleet.yaml": fleetYaml("stays") });
    const rows = await waitForValue(
      async () => (await api().request<Page<HeldPruneRow>>("GET", "/api/v1/fleets/pair/held-prunes")).items,
      (found) => found.length === 2 && found.every((row) => row.whole && row.revision === second),
      { what: "the bundle's prunes held", timeoutMs: 60_000 },
    );
    expect(rows.map(({ objects: count }) => count)).toEqual([8, 8]);
    for (const cluster of clusters) expect(await platform.member(cluster).kube.client.find("/api/v1/namespaces/default/configmaps/goes-7")).toBeDefined();
  });

  it("go in all clusters that hold the same list by one word", async () => {
    const revision = await write(names(2), names(9));
    await waitForValue(held, (rows) => rows.length === 2 && rows.every((row) => row.whole && row.revision === revision), {
      what: "both lists",
      timeoutMs: 60_000,
    });
    const listed = await fleet("approve", "prune", "shop", "--all-clusters", "-o", "json");
    expect(
      JSON.parse(listed.stdout)
        .items.flatMap(({ clusters: of }: { clusters: string[] }) => of)
        .sort(),
    ).toEqual(clusters);
    const approved = await fleet("approve", "prune", "shop", "--all-clusters", "--yes");
    expect(approved.status, approved.output).toBe(0);
    await platform.converged("shop", revision);
    for (const cluster of clusters) expect((await live(cluster)).sort()).toEqual(names(2));
    await waitFor(async () => (await held()).length === 0, { what: "nothing held any more" });
  });

  it.runIf(hasTerminal)("go when a person says yes on a terminal", async () => {
    const every = names(20, 100);
    await platform.converged("shop", await write(every, await live("held-1")));
    await allHeld(await write(every.slice(0, 10), every), 10);
    const answered = await runOnTerminal(["approve", "prune", "shop", "--cluster", "held-1", "--reason", "seen"], {
      env: env(),
      question: /\[y\/N\] /,
      answer: "Yes",
    });
    expect(answered.status, answered.shown).toBe(0);
    await waitForValue(
      () => live("held-1"),
      (found) => found.length === 10,
      { what: "the approved prunes done", timeoutMs: 30_000 },
    );
  });
});
