import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { HubApiError } from "../harness/hub-api.ts";
import { folderChanges, type Platform, startPlatform } from "../harness/platform.ts";
import { repositoryRoot } from "../harness/programs.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

const shopFolder = join(repositoryRoot, "test/fixtures/shop");
const settings = "/api/v1/namespaces/payments/configmaps/cluster-facts";

let platform: Platform;
let forge: Forge;
let first: string;

beforeAll(async () => {
  platform = await startPlatform({
    clusters: [
      { name: "prod-1", labels: { shop: "true", env: "prod" }, kube: { controllerManager: true, kubelet: true } },
      { name: "lab-1", labels: { shop: "true", env: "staging" }, kube: { controllerManager: true, kubelet: true } },
      { name: "aside", labels: { shop: "false" } },
    ],
  });
  const repository = await platform.git.createRepository("shop");
  first = await repository.commit(await folderChanges(shopFolder), { message: "The shop" });
  const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
  forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  await platform.converged("shop", first, { clusters: 2, timeoutMs: 90_000 });
});

afterAll(() => platform?.stop());

const live = async (cluster: string, path: string) =>
  (await platform.member(cluster).kube.client.get(path)) as { data?: Record<string, string>; spec?: { replicas?: number } };
const absent = async (cluster: string, path: string) => (await platform.member(cluster).kube.client.find(path)) === undefined;

describe("the path of a commit", () => {
  it("gives every cluster what its labels ask for, and others nothing", async () => {
    const web = "/apis/apps/v1/namespaces/storefront/deployments/web";
    expect((await live("prod-1", web)).spec?.replicas).toBe(3);
    expect((await live("lab-1", web)).spec?.replicas).toBe(1);
    expect((await live("prod-1", settings)).data).toEqual({ cluster: "prod-1", domain: "example.com" });
    expect(await absent("aside", "/api/v1/namespaces/storefront")).toBe(true);
  });

  it("applies a custom resource that comes with its definition", async () => {
    const backup = (await platform.member("prod-1").kube.client.get("/apis/shop.example.com/v1/namespaces/payments/backups/orders")) as { spec?: unknown };
    expect(backup.spec).toEqual({ schedule: "0 3 * * *", bucket: "backups.example.com", keep: 7 });
  });

  it("tells the state of fleets, bundles and objects with the time it rests on", async () => {
    const fleet = await platform.hub.api.fleet("shop");
    expect(fleet).toMatchObject({
      revision: first,
      sync: "Synced",
      health: "Current",
      problems: [],
      tally: { clusters: 2, synced: 2, current: 2, unknown: 0 },
    });
    expect(fleet.asOf).not.toBeNull();
    const bundles = await platform.hub.api.bundles({ fleet: "shop", cluster: "prod-1" });
    expect(bundles.map(({ bundle }) => bundle).sort()).toEqual(["checkout", "platform", "storefront"]);
    const objects = await platform.hub.api.objects({ fleet: "shop", cluster: "prod-1" });
    expect(objects.length).toBeGreaterThanOrEqual(40);
    expect(objects.filter(({ sync, health }) => sync !== "Synced" || health !== "Current")).toEqual([]);
  });

  it("brings a pushed change to every cluster, and prunes what the commit removed", async () => {
    const { revision } = await forge.push({ "charts/checkout/values.yaml": "image: ghcr.io/example/checkout\nreplicas: 1\nworkers: [invoices, disputes]\n" });
    await platform.converged("shop", revision, { clusters: 2 });
    for (const cluster of ["prod-1", "lab-1"]) {
      await live(cluster, "/apis/apps/v1/namespaces/checkout/deployments/checkout-disputes");
      await waitFor(() => absent(cluster, "/apis/apps/v1/namespaces/checkout/deployments/checkout-refunds"), {
        what: `the refunds worker pruned on ${cluster}`,
      });
    }
  });

  it("records every phase of a revision, for the hub and for each cluster", async () => {
    const { revision } = await forge.push({ "platform/note.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: note, namespace: payments }\n" });
    await platform.converged("shop", revision, { clusters: 2 });
    const trace = await waitForValue(
      () => platform.hub.api.trace("shop", revision.slice(0, 8)),
      ({ phases }) =>
        ["prod-1", "lab-1"].every((name) => ["send", "healthy"].every((wanted) => phases.some(({ cluster, phase }) => cluster === name && phase === wanted))),
      { what: "the phases 'send' and 'healthy' of both clusters" },
    );
    const phasesOf = (cluster: string) => trace.phases.filter((phase) => phase.cluster === cluster).map(({ phase }) => phase);
    expect(phasesOf("")).toEqual(expect.arrayContaining(["webhook", "fetch", "render", "place", "release"]));
    expect(phasesOf("prod-1")).toEqual(expect.arrayContaining(["send", "receive", "plan", "apply", "healthy"]));
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
  });

  it("sees a live edit, heals it and remembers who did it", async () => {
    await platform.member("prod-1").kube.client.mergePatch(settings, { data: { domain: "edited" } });
    await waitForValue(
      async () => (await live("prod-1", settings)).data?.domain,
      (domain) => domain === "example.com",
      { what: "the edit healed" },
    );
    const [drift] = await waitForValue(
      () => platform.hub.api.drift({ fleet: "shop", cluster: "prod-1" }),
      (rows) => rows.some(({ object, healedAt }) => object.includes("cluster-facts") && healedAt !== null),
      { what: "the healed drift in the hub" },
    );
    expect(drift).toMatchObject({ bundle: "platform", fields: [{ path: "/data/domain", desired: '"example.com"', live: '"edited"' }] });
    expect(drift?.fields[0]?.manager).not.toBe("");
  });

  it("keeps the last good revision when a newer one is broken, and says file and line", async () => {
    const good = (await platform.hub.api.fleet("shop")).revision;
    const { revision } = await forge.push({ "platform/broken.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: broken\n" });
    const fleet = await waitForValue(
      () => platform.hub.api.fleet("shop"),
      ({ seenRevision }) => seenRevision === revision,
      { what: "the broken revision seen" },
    );
    expect(fleet.revision).toBe(good);
    expect(fleet.problems).toEqual([expect.objectContaining({ file: "platform/broken.yaml", line: expect.any(Number) })]);
    expect((await platform.hub.api.revisions("shop"))[0]).toMatchObject({ revision, outcome: "failed" });
    const mended = await forge.push({ "platform/broken.yaml": null });
    await platform.converged("shop", mended.revision, { clusters: 2 });
    expect((await platform.hub.api.fleet("shop")).problems).toEqual([]);
  });

  it("takes in a cluster whose labels come to match, and lets go of its objects without deleting them when they no longer do and its grace is over", async () => {
    await platform.hub.api.labelCluster("aside", { shop: "true", env: "staging" });
    await waitFor(async () => !(await absent("aside", "/api/v1/namespaces/payments/configmaps/note")), {
      what: "the fleet on cluster aside",
      timeoutMs: 60_000,
    });
    const written = await readFile(join(shopFolder, "fleet.yaml"), "utf8");
    await forge.push({ "fleet.yaml": written.replace("\nspec:\n", "\nspec:\n  removal: { grace: 1s }\n") });
    await platform.hub.api.labelCluster("aside", { shop: "false" });
    await waitForValue(
      async () => (await platform.hub.api.targets("shop")).map(({ cluster }) => cluster).sort(),
      (clusters) => clusters.join() === "lab-1,prod-1",
      { what: "cluster aside out of the fleet" },
    );
    expect(await absent("aside", "/api/v1/namespaces/payments/configmaps/note")).toBe(false);
  });

  it("refuses a webhook whose signature is wrong", async () => {
    const { webhook } = await platform.hub.api.createFleet({
      name: "other",
      repository: forge.repository.url,
      path: "platform/namespaces",
      selector: { matchLabels: { none: "here" } },
    });
    const response = await fetch(`${platform.hub.url}${webhook.path}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-flotilla-signature": `sha256=${"0".repeat(64)}` },
      body: JSON.stringify({ repository: forge.repository.url }),
    });
    expect(response.status).toBe(401);
    await platform.hub.api.deleteFleet("other");
    await waitFor(
      () =>
        platform.hub.api.fleet("other").then(
          () => false,
          (error: unknown) => error instanceof HubApiError && error.status === 404,
        ),
      { what: "fleet other gone" },
    );
  });
});
