import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HubApiError } from "../harness/hub-api.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

let platform: Platform;

const configMaps = "/api/v1/namespaces/default/configmaps";

const files = (fleet: string) => ({
  "config.yaml": Array.from({ length: 12 }, (_, index) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${fleet}-${index}, namespace: default }\n`).join(
    "---\n",
  ),
  "secret.yaml": `apiVersion: v1\nkind: Secret\nmetadata: { name: ${fleet}, namespace: default }\nstringData: { a: b }\n`,
  "priority.yaml": `apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: { name: ${fleet} }\nvalue: 7\n`,
  // Protected: what lies in it is not Git's to delete.
  "namespace.yaml": `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${fleet} }\n`,
  "inside.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: inside, namespace: ${fleet} }\n`,
});

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one", labels: { env: "test" } }, { name: "two" }] });
});

afterAll(() => platform?.stop());

async function fleetOf(name: string): Promise<void> {
  const repository = await platform.git.createRepository(name);
  const revision = await repository.commit(files(name));
  await platform.hub.api.createFleet({ name, repository: repository.url, selector: {} });
  await platform.converged(name, revision);
}

/** Until the hub has no such fleet any more. */
async function gone(name: string, timeoutMs: number): Promise<void> {
  await waitFor(
    () =>
      platform.hub.api.fleet(name).then(
        () => false,
        (error: unknown) => error instanceof HubApiError && error.status === 404,
      ),
    { what: `the end of fleet ${name}`, timeoutMs },
  );
}

describe("deleting a fleet", () => {
  it("with its objects takes what it applied out of every cluster, leaves protected kinds and strangers, and says so", async () => {
    await fleetOf("ends");
    await platform.member("one").kube.client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "of-a-person" } });
    const deleting = await platform.hub.api.deleteFleet("ends", "delete");
    expect(deleting.deleting).toBe("delete");
    await gone("ends", 60_000);
    for (const { name, kube } of platform.members) {
      const left = (await kube.client.list(configMaps)).map(({ metadata }) => metadata.name);
      expect(left.filter((found) => found.startsWith("ends-"))).toEqual([]);
      expect(await kube.client.find("/api/v1/namespaces/default/secrets/ends")).toBeUndefined();
      expect(await kube.client.find("/apis/scheduling.k8s.io/v1/priorityclasses/ends")).toBeUndefined();
      expect(await kube.client.find("/api/v1/namespaces/ends/configmaps/inside")).toBeUndefined();
      const namespace = await kube.client.get("/api/v1/namespaces/ends");
      expect(namespace.metadata.deletionTimestamp).toBeUndefined();
      const [told] = await platform.hub.api.events({ cluster: name, reason: "TargetRemoved" });
      expect(told?.message).toMatch(/left fleet ends.*1 objects? stays?/);
    }
    expect(await platform.member("one").kube.client.find(`${configMaps}/of-a-person`)).toBeDefined();
    expect(await platform.hub.api.objects({ fleet: "ends" })).toEqual([]);
    expect((await platform.hub.api.events({ reason: "FleetDeleted" })).map(({ fleet }) => fleet)).toContain("ends");
  });

  it("by default only forgets it: every object stays, and another fleet may have them", async () => {
    await fleetOf("stays");
    await platform.hub.api.deleteFleet("stays");
    await gone("stays", 60_000);
    for (const { kube } of platform.members) {
      const left = (await kube.client.list(configMaps)).map(({ metadata }) => metadata.name);
      expect(left.filter((found) => found.startsWith("stays-"))).toHaveLength(12);
    }
    const heir = await platform.git.createRepository("heir");
    const revision = await heir.commit(files("stays"));
    await platform.hub.api.createFleet({ name: "heir", repository: heir.url, selector: {} });
    await platform.converged("heir", revision);
    const live = await platform.member("one").kube.client.get(`${configMaps}/stays-0`);
    expect(JSON.stringify(live.metadata)).toContain("heir");
  });

  it("waits for a cluster whose agent is away, and takes its objects too when it is back", async () => {
    await fleetOf("patient");
    const away = platform.member("two");
    await away.agent.stop();
    await platform.hub.api.deleteFleet("patient", "delete");
    await waitForValue(
      async () => (await platform.member("one").kube.client.list(configMaps)).filter(({ metadata }) => metadata.name.startsWith("patient-")),
      (left) => left.length === 0,
      { what: "the objects of the cluster that is there deleted", timeoutMs: 60_000 },
    );
    expect((await platform.hub.api.fleet("patient")).deleting).toBe("delete");
    await away.agent.restart();
    await gone("patient", 60_000);
    const left = (await away.kube.client.list(configMaps)).filter(({ metadata }) => metadata.name.startsWith("patient-"));
    expect(left).toEqual([]);
  });

  it("that no cluster holds is done at once, and its name is free again", async () => {
    const repository = await platform.git.createRepository("nobody");
    await repository.commit(files("nobody"));
    const nobody = { name: "nobody", repository: repository.url, selector: { matchLabels: { env: "none" } } };
    await platform.hub.api.createFleet(nobody);
    await waitForValue(
      () => platform.hub.api.fleet("nobody"),
      ({ revision }) => revision !== null,
      { what: "its revision" },
    );
    await platform.hub.api.deleteFleet("nobody", "delete");
    await gone("nobody", 5_000);
    await platform.hub.api.createFleet(nobody);
    await platform.hub.api.deleteFleet("nobody");
    await gone("nobody", 5_000);
  });

  it("whose repository never answered is done at once too", async () => {
    await platform.hub.api.createFleet({ name: "lost", repository: `${platform.git.url}/never-there.git`, selector: {} });
    await waitForValue(
      () => platform.hub.api.fleet("lost"),
      ({ problems }) => problems.length > 0,
      { what: "its problem" },
    );
    await platform.hub.api.deleteFleet("lost", "delete");
    await gone("lost", 5_000);
  });
});
