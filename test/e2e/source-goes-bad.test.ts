import { rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GitChanges, GitRepository } from "../harness/git-server.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, value: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}" }\n`;
const lfsPointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"4d7a".repeat(16)}\nsize 12\n`;

let platform: Platform;
let count = 0;

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one", kube: { auditLog: true } }] });
});

afterAll(() => platform?.stop());

/** A fleet that runs two objects of a kustomization. */
async function runningFleet(): Promise<{ name: string; repository: GitRepository; revision: string }> {
  count += 1;
  const name = `good-${count}`;
  const repository = await platform.git.createRepository(name);
  const revision = await repository.commit({
    "deploy/kustomization.yaml": "resources: [a.yaml, b.yaml]\n",
    "deploy/a.yaml": configMap(`${name}-a`, "1"),
    "deploy/b.yaml": configMap(`${name}-b`, "1"),
  });
  await platform.hub.api.createFleet({ name, repository: repository.url, path: "deploy", selector: {} });
  await platform.converged(name, revision);
  return { name, repository, revision };
}

/** Asks for a fetch until the fleet has a problem, as long as that takes. */
async function problemsOf(name: string) {
  const { problems } = await waitForValue(
    async () => {
      await platform.hub.api.sync(name);
      return await platform.hub.api.fleet(name);
    },
    (fleet) => fleet.problems.length > 0,
    { what: `a problem of fleet ${name}`, timeoutMs: 60_000, everyMs: 200 },
  );
  return problems;
}

/** The last good revision stays and is kept up: nothing was deleted, and what somebody edits is healed. */
async function staysAsItWas(name: string, revision: string): Promise<void> {
  const { kube } = platform.member("one");
  await kube.client.mergePatch(`${configMaps}/${name}-a`, { data: { value: "by hand" } });
  await waitForValue(
    async () => ((await kube.client.find(`${configMaps}/${name}-a`)) as { data?: { value?: string } } | undefined)?.data?.value,
    (value) => value === "1",
    { what: "the heal" },
  );
  expect((await platform.hub.api.fleet(name)).revision).toBe(revision);
  const deletes = (await kube.auditedRequests()).filter(({ verb, requestURI }) => verb.startsWith("delete") && requestURI.startsWith(configMaps));
  expect(deletes.map(({ requestURI }) => requestURI)).toEqual([]);
}

async function comesBack(name: string, repository: GitRepository): Promise<void> {
  const good = await repository.commit({
    "deploy/kustomization.yaml": "resources: [a.yaml, b.yaml]\n",
    "deploy/a.yaml": configMap(`${name}-a`, "2"),
    "deploy/b.yaml": configMap(`${name}-b`, "2"),
  });
  await platform.hub.api.sync(name);
  await platform.converged(name, good, { timeoutMs: 90_000 });
}

describe("a source that goes bad under a running fleet deletes nothing (fault 1)", () => {
  it.each<[string, GitChanges]>([
    ["its path is gone", { "deploy/kustomization.yaml": null, "deploy/a.yaml": null, "deploy/b.yaml": null, "README.md": "moved\n" }],
    ["its kustomization has no bytes", { "deploy/kustomization.yaml": "" }],
    ["its kustomization names nothing", { "deploy/kustomization.yaml": "resources: []\n" }],
    ["its files are empty", { "deploy/a.yaml": "", "deploy/b.yaml": "" }],
    ["a file of it is a Git LFS pointer", { "deploy/a.yaml": lfsPointer }],
    ["a file of it is a submodule", { "deploy/a.yaml": { submodule: "a".repeat(40) } }],
    ["a file of it leads out of the repository", { "deploy/a.yaml": { symlink: "/etc/hostname" } }],
    ["a file of it ends in the middle", { "deploy/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, name" }],
  ])("when %s", async (_, changes) => {
    const { name, repository, revision } = await runningFleet();
    await repository.commit(changes);
    expect((await problemsOf(name))[0]?.message).toMatch(/./);
    await staysAsItWas(name, revision);
    await comesBack(name, repository);
  });

  it.each<[string, (repository: GitRepository) => Promise<() => Promise<void>>]>([
    [
      "the server fails",
      async () => {
        platform.git.fail({ kind: "status", status: 500 });
        return async () => platform.git.fail({ kind: "none" });
      },
    ],
    [
      "a fetch ends in the middle",
      async () => {
        platform.git.fail({ kind: "cut", afterBytes: 300 });
        return async () => platform.git.fail({ kind: "none" });
      },
    ],
    [
      "the repository lost its objects",
      async ({ folder }) => {
        await rename(join(folder, "objects"), join(folder, "objects-lost"));
        return async () => await rename(join(folder, "objects-lost"), join(folder, "objects"));
      },
    ],
  ])("when %s", async (_, breakIt) => {
    const { name, repository, revision } = await runningFleet();
    // What cannot be fetched would take everything away.
    const emptied = await repository.commit({ "deploy/kustomization.yaml": null, "deploy/a.yaml": null, "deploy/b.yaml": null, "README.md": "moved\n" });
    expect(emptied).not.toBe(revision);
    const mend = await breakIt(repository);
    await problemsOf(name);
    await staysAsItWas(name, revision);
    await mend();
    await comesBack(name, repository);
  });
});
