import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GitChanges, GitRepository } from "../harness/git-server.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";

let platform: Platform;
let count = 0;

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one" }] });
});

afterAll(() => platform?.stop());

async function fleetOf(changes: GitChanges): Promise<{ name: string; repository: GitRepository; revision: string }> {
  count += 1;
  const name = `bad-${count}`;
  const repository = await platform.git.createRepository(name);
  const revision = await repository.commit(changes);
  await platform.hub.api.createFleet({ name, repository: repository.url, selector: {} });
  return { name, repository, revision };
}

async function problemsOf(name: string) {
  const fleet = await waitForValue(
    () => platform.hub.api.fleet(name),
    ({ problems }) => problems.length > 0,
    { what: `a problem of fleet ${name}` },
  );
  return fleet.problems;
}

const fleetYaml = (bundles: string) => `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\nspec:\n  clusters: {}\n  bundles:\n${bundles}`;
const configMap = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\n`;

describe("bad input in Git", () => {
  it.each<[string, GitChanges, { file?: string; line?: number; says: RegExp }]>([
    ["invalid YAML", { "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a\n" }, { file: "a.yaml", says: /./ }],
    [
      "an unknown field of fleet.yaml",
      { "fleet.yaml": fleetYaml("    - name: a\n      pth: a\n"), "a/a.yaml": configMap("a") },
      { file: "fleet.yaml", line: 8, says: /path/ },
    ],
    [
      "a wrong apiVersion",
      { "fleet.yaml": "apiVersion: flotilla.dev/v9\nkind: Fleet\nmetadata: { name: a }\nspec: { bundles: [] }\n" },
      { file: "fleet.yaml", line: 1, says: /flotilla\.dev\/v1/ },
    ],
    ["an unknown kind", { "a.yaml": "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: { name: a }\n" }, { file: "a.yaml", says: /Deployment/ }],
    ["an object twice", { "a.yaml": configMap("a"), "b.yaml": configMap("a") }, { says: /a\.yaml/ }],
    [
      "a path that is not there",
      { "fleet.yaml": fleetYaml("    - { name: a, path: aps }\n"), "apps/a.yaml": configMap("a") },
      { file: "fleet.yaml", says: /apps/ },
    ],
    [
      "a cycle of dependsOn",
      {
        "fleet.yaml": fleetYaml("    - { name: a, path: a, dependsOn: [b] }\n    - { name: b, path: b, dependsOn: [a] }\n"),
        "a/a.yaml": configMap("a"),
        "b/b.yaml": configMap("b"),
      },
      { file: "fleet.yaml", says: /a.*b.*a/ },
    ],
    [
      "a template error of Helm",
      { "Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n", "templates/a.yaml": "{{ .Values.missing.deeper }}\n" },
      { says: /templates\/a\.yaml/ },
    ],
    ["an error of Kustomize", { "kustomization.yaml": "resources:\n  - absent.yaml\n" }, { says: /absent\.yaml/ }],
    ["a symlink out of the repository", { "a.yaml": configMap("a"), "leak.yaml": { symlink: "/etc/passwd" } }, { file: "leak.yaml", says: /symlink/i }],
    ["a remote base", { "kustomization.yaml": "resources:\n  - https://example.com/base?ref=v1\n" }, { file: "kustomization.yaml", says: /remote/i }],
    ["no objects at all", { "notes.txt": "nothing here\n" }, { says: /./ }],
  ])("%s is told with its place and remedy", async (_name, changes, expected) => {
    const { name } = await fleetOf(changes);
    const problems = await problemsOf(name);
    const told = problems.map(({ file, line, message, hint }) => ({ file, line, text: `${message} ${hint ?? ""} ${file ?? ""}` }));
    expect(told).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          ...(expected.file === undefined ? {} : { file: expected.file }),
          ...(expected.line === undefined ? {} : { line: expected.line }),
          text: expect.stringMatching(expected.says),
        }),
      ]),
    );
    expect(JSON.stringify(problems)).not.toContain(platform.folder);
    expect((await platform.hub.api.fleet(name)).revision).toBeNull();
  });

  it("an unknown branch names the ones there are", async () => {
    const repository = await platform.git.createRepository("branches");
    await repository.commit({ "a.yaml": configMap("branches") });
    await platform.hub.api.createFleet({ name: "branches", repository: repository.url, ref: { branch: "mian" }, selector: {} });
    expect(JSON.stringify(await problemsOf("branches"))).toContain("main");
  });

  it("an empty repository is told, and followed once it has a commit", async () => {
    const repository = await platform.git.createRepository("empty");
    await platform.hub.api.createFleet({ name: "empty", repository: repository.url, selector: {} });
    expect(JSON.stringify(await problemsOf("empty"))).toMatch(/empty|no commits/i);
    const revision = await repository.commit({ "a.yaml": configMap("empty") });
    await platform.converged("empty", revision, { clusters: 1 });
    expect((await platform.hub.api.fleet("empty")).problems).toEqual([]);
  });

  it("credentials that were revoked, and Git that cannot be reached, leave the last good revision in place (fault 31)", async () => {
    const { name, repository, revision } = await fleetOf({ "a.yaml": configMap("revoked") });
    await platform.converged(name, revision, { clusters: 1 });
    platform.git.requireToken("a-token-the-hub-does-not-have");
    await waitForValue(
      () => platform.hub.api.sync(name).then(() => problemsOf(name)),
      (problems) => problems.some(({ code }) => code === "auth-refused" || code === "wrong-credentials"),
      { what: "the refusal told" },
    );
    expect(await platform.hub.api.fleet(name)).toMatchObject({ revision });
    platform.git.requireToken(undefined);
    const next = await repository.commit({ "b.yaml": configMap("restored") });
    await platform.converged(name, next, { clusters: 1, timeoutMs: 90_000 });
  });

  it("a semver range that goes back because its newest tag was deleted is followed, and told with both tags", async () => {
    const repository = await platform.git.createRepository("withdrawn");
    const first = await repository.commit({ "a.yaml": configMap("withdrawn") });
    await repository.tag("v1.0.0");
    const second = await repository.commit({ "b.yaml": configMap("withdrawn-later") });
    await repository.tag("v1.1.0");
    await platform.hub.api.createFleet({ name: "withdrawn", repository: repository.url, ref: { semver: "1.x" }, selector: {} });
    await platform.converged("withdrawn", second, { clusters: 1 });
    await repository.deleteTag("v1.1.0");
    await platform.converged("withdrawn", first, { clusters: 1 });
    expect((await platform.hub.api.fleet("withdrawn")).warnings).toContainEqual(
      expect.objectContaining({ code: "source-rewound", message: "'1.x' went back from tag v1.1.0 to v1.0.0: the newer tag is gone" }),
    );
  });

  it("an object that admission or RBAC or validation refuses fails alone, with the API server's words", async () => {
    const { name } = await fleetOf({
      "good.yaml": configMap("beside-a-bad-one"),
      "bad.yaml": "apiVersion: v1\nkind: Service\nmetadata: { name: refused, namespace: default }\nspec: { ports: [{ port: 99999999 }] }\n",
    });
    const objects = await waitForValue(
      () => platform.hub.api.objects({ fleet: name }),
      (rows) => rows.some((row) => row.health === "Failed" || row.change === "Failed" || row.sync === "OutOfSync"),
      { what: "the refused object" },
    );
    expect(objects.find((row) => row.name === "refused")?.message).toMatch(/ports\[0\]\.port/);
    await waitForValue(
      () => platform.hub.api.objects({ fleet: name, name: "beside-a-bad-one" }),
      ([row]) => row?.sync === "Synced",
      { what: "the good object applied" },
    );
  });

  it("an object that another fleet has keeps its owner, and both fleets say so", async () => {
    const owner = await fleetOf({ "a.yaml": configMap("contested") });
    await platform.converged(owner.name, owner.revision, { clusters: 1 });
    const late = await fleetOf({ "a.yaml": configMap("contested"), "b.yaml": configMap("only-mine") });
    const told = await waitForValue(
      async () => ({ owner: (await platform.hub.api.fleet(owner.name)).problems, late: (await platform.hub.api.fleet(late.name)).problems }),
      (problems) => problems.owner.length > 0 && problems.late.length > 0,
      { what: "both fleets told", timeoutMs: 90_000 },
    );
    expect(JSON.stringify(told.late)).toContain(owner.name);
    expect(JSON.stringify(told.owner)).toContain(late.name);
    const live = await waitForValue(
      () => platform.member("one").kube.client.find("/api/v1/namespaces/default/configmaps/only-mine"),
      (object) => object !== undefined,
      { what: "the rest of the later fleet" },
    );
    expect(live).toBeDefined();
    const contested = await platform.member("one").kube.client.get("/api/v1/namespaces/default/configmaps/contested");
    expect(JSON.stringify(contested.metadata)).toContain(owner.name);
  });
});
