import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Preview, PreviewAction, PreviewObject } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fleetCli } from "../../harness/fleet-cli.ts";
import { type Forge, forgeOf } from "../../harness/forge.ts";
import type { KubeObject } from "../../harness/kube-client.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { shop: "true" } }
  bundles:
    - { name: web, path: web }
    - { name: many, path: many, prune: { budget: 2 } }
  rollout:
    waves:
      - { name: canary, clusters: { matchLabels: { tier: a } }, after: { soak: 1s } }
      - { name: rest }
`;
const configMap = (
  name: string,
  data: Record<string, string>,
  more: { annotations?: object; labels?: object; namespace?: string; immutable?: boolean } = {},
) => {
  const { annotations, labels, namespace = "default", immutable } = more;
  return `${JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, annotations, labels }, data, immutable })}\n`;
};
const secret = (value: string) =>
  `${JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name: "creds", namespace: "default" }, stringData: { password: value } })}\n`;
const definition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.shop.example.com }
spec:
  group: shop.example.com
  names: { kind: Widget, plural: widgets, singular: widget }
  scope: Namespaced
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, properties: { spec: { type: object, properties: { size: { type: integer } } } } } } }]
`;
/** Refuses what carries the label deny, in clusters where it is. */
const policy = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicy",
  metadata: { name: "deny" },
  spec: {
    failurePolicy: "Fail",
    matchConstraints: { resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] }] },
    validations: [{ expression: "!has(object.metadata.labels) || !('deny' in object.metadata.labels)", message: "nothing that is labelled deny" }],
  },
};
const binding = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicyBinding",
  metadata: { name: "deny" },
  spec: { policyName: "deny", validationActions: ["Deny"] },
};
const many = Object.fromEntries([1, 2, 3, 4].map((number) => [`many/many-${number}.yaml`, configMap(`many-${number}`, {})]));

const first = {
  "fleet.yaml": fleetFile,
  "web/same.yaml": configMap("same", { value: "1" }),
  "web/settings.yaml": configMap("settings", { value: "1", gone: "soon" }),
  "web/old.yaml": configMap("old", {}),
  "web/creds.yaml": secret("sesame-one"),
  "web/again.yaml": configMap("again", { value: "1" }, { immutable: true, annotations: { "flotilla.dev/force": "recreate" } }),
  "web/fixed.yaml": configMap("fixed", { value: "1" }, { immutable: true }),
  ...many,
};
const change = {
  "web/settings.yaml": configMap("settings", { value: "2", added: "new" }),
  "web/old.yaml": null,
  "web/creds.yaml": secret("sesame-two"),
  "web/again.yaml": configMap("again", { value: "2" }, { immutable: true, annotations: { "flotilla.dev/force": "recreate" } }),
  "web/added.yaml": configMap("added", { value: "1" }),
  "web/taken.yaml": configMap("taken", { value: "git" }, { annotations: { "flotilla.dev/adopt": "never" } }),
  "web/adopted.yaml": configMap("adopted", { value: "git" }),
  "web/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: { name: extra }\n",
  "web/inside.yaml": configMap("inside", {}, { namespace: "extra" }),
  "web/definition.yaml": definition,
  "web/widget.yaml": "apiVersion: shop.example.com/v1\nkind: Widget\nmetadata: { name: one, namespace: default }\nspec: { size: 3 }\n",
};
/** What an immutable object and, in one cluster, a policy refuse; and a prune. */
const refused = {
  // In waves no other cluster would follow a canary that fails.
  "fleet.yaml": fleetFile.slice(0, fleetFile.indexOf("  rollout:")),
  "web/fixed.yaml": configMap("fixed", { value: "2" }, { immutable: true }),
  "web/denied.yaml": configMap("denied", {}, { labels: { deny: "yes" } }),
  "web/added.yaml": null,
};
/** More than its bundle's budget. */
const clearance = { "many/many-1.yaml": null, "many/many-2.yaml": null, "many/many-3.yaml": null };
const lists = ["/api/v1/configmaps", "/api/v1/secrets", "/api/v1/namespaces", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"];
const kinds = ["/ConfigMap", "/Secret", "/Namespace", "apiextensions.k8s.io/CustomResourceDefinition"];
const widgets = "/apis/shop.example.com/v1/widgets";

await describeWith([...kubeTools, "nats-server"], "the preview of a change", () => {
  let platform: Platform;
  let forge: Forge;
  let begun: string;

  beforeAll(async () => {
    platform = await startPlatform({
      clusters: ["a-1", "a-2", "b-1"].map((name) => ({ name, labels: { shop: "true", tier: name.slice(0, 1) }, kube: { auditLog: true } })),
    });
    const odd = platform.member("b-1").kube.client;
    await odd.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", policy);
    await odd.create("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", binding);
    for (const name of ["taken", "adopted"])
      await odd.create("/api/v1/namespaces/default/configmaps?fieldManager=kubectl-create", {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name },
        data: { value: "hand" },
      });
    const repository = await platform.git.createRepository("shop");
    begun = await repository.commit(first, { message: "First" });
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    await platform.converged("shop", begun);
    await waitForValue(
      () => platform.hub.api.request<{ rollout: { phase: string } | null }>("GET", "/api/v1/fleets/shop/rollout"),
      ({ rollout }) => rollout?.phase === "Done",
      { what: "the first rollout is done", timeoutMs: 60_000 },
    );
    await repository.createBranch("feature");
  }, 180_000);
  afterAll(() => platform?.stop());

  const fleet = fleetCli(() => platform);
  const diff = async (...args: string[]): Promise<Preview> => {
    const run = await fleet("diff", "shop", ...args, "-o", "json");
    expect(run.status, run.output).toBe(3);
    return JSON.parse(run.stdout) as Preview;
  };
  /** Every object there is, by "group/kind/namespace/name"; without the agent's own. */
  const snapshot = async (cluster: string): Promise<Map<string, KubeObject>> => {
    const { client } = platform.member(cluster).kube;
    const found = await Promise.all(lists.map((path) => client.list(path)));
    const widget = ((await client.find(widgets)) as unknown as { items?: KubeObject[] } | undefined)?.items ?? [];
    const rows = [
      ...found.flatMap((items, index) => items.map((item) => [kinds[index] ?? "", item] as const)),
      ...widget.map((item) => ["shop.example.com/Widget", item] as const),
    ];
    return new Map(rows.map(([kind, item]) => [`${kind}/${item.metadata.namespace ?? ""}/${item.metadata.name}`, item] as const));
  };
  const groupOf = (preview: Preview, cluster: string) => preview.groups.find(({ clusters }) => clusters.includes(cluster));
  const actionsOf = (preview: Preview, cluster: string): Record<string, PreviewAction> =>
    Object.fromEntries((groupOf(preview, cluster)?.objects ?? []).map(({ object, action }) => [object, action]));
  let foreseen: Preview;
  const before = new Map<string, Map<string, KubeObject>>();

  it("says for each cluster what would be created, configured, made again, pruned, held, refused and left to others", async () => {
    for (const { name } of platform.members) before.set(name, await snapshot(name));
    await forge.repository.commit(change, { branch: "feature", message: "A change" });
    foreseen = await diff("--branch", "feature");
    expect(foreseen.groups.map(({ clusters }) => clusters)).toEqual([["a-1", "a-2"], ["b-1"]]);
    expect(foreseen.unknown).toEqual([]);
    const everywhere = {
      "/ConfigMap/default/added": "create",
      "/ConfigMap/default/again": "recreate",
      "/ConfigMap/default/old": "prune",
      "/ConfigMap/default/settings": "configure",
      "/ConfigMap/extra/inside": "create",
      "/Namespace//extra": "create",
      "/Secret/default/creds": "configure",
      "apiextensions.k8s.io/CustomResourceDefinition//widgets.shop.example.com": "create",
      "shop.example.com/Widget/default/one": "create",
    };
    const mild = { "/ConfigMap/default/taken": "create", "/ConfigMap/default/adopted": "create" };
    const strict = { "/ConfigMap/default/taken": "conflict", "/ConfigMap/default/adopted": "configure" };
    expect(actionsOf(foreseen, "a-1")).toEqual({ ...everywhere, ...mild });
    expect(actionsOf(foreseen, "b-1")).toEqual({ ...everywhere, ...strict });
    const objectOf = (cluster: string, key: string): PreviewObject | undefined => groupOf(foreseen, cluster)?.objects.find(({ object }) => object === key);
    expect(objectOf("a-1", "/ConfigMap/default/settings")?.fields).toEqual([
      { path: "/data/added", before: "", after: '"new"' },
      { path: "/data/value", before: '"1"', after: '"2"' },
      { path: "/data/gone", before: '"soon"', after: "" },
    ]);
    expect(objectOf("b-1", "/ConfigMap/default/taken")?.message).toContain("adopt: never");
    expect(objectOf("b-1", "/ConfigMap/default/adopted")).toMatchObject({ message: expect.stringContaining("is taken over") });
    expect(foreseen.waves.map(({ name, clusters }) => [name, clusters])).toEqual([
      ["canary", 2],
      ["rest", 1],
    ]);
    expect(foreseen.lastRolloutMs).toBeGreaterThan(1_000);
  }, 120_000);

  it("shows of a Secret that its value changes, and neither value", () => {
    const fields = groupOf(foreseen, "a-1")?.objects.find(({ object }) => object === "/Secret/default/creds")?.fields ?? [];
    expect(fields).toHaveLength(1);
    expect(fields[0]?.path).toBe("/data/password");
    expect(fields[0]?.before).not.toBe(fields[0]?.after);
    for (const value of ["sesame-one", "sesame-two"])
      for (const text of [value, Buffer.from(value).toString("base64")]) expect(JSON.stringify(foreseen)).not.toContain(text);
  });

  it("writes nothing: every object has its version, and every write that was asked for was a dry run", async () => {
    for (const { name, kube } of platform.members) {
      const now = await snapshot(name);
      const versions = (objects: ReadonlyMap<string, KubeObject> | undefined) =>
        [...(objects ?? [])].map(([key, { metadata }]) => [key, metadata.resourceVersion]);
      expect(versions(now)).toEqual(versions(before.get(name)));
      const asked = (await kube.auditedRequests()).filter(({ requestURI }) => requestURI.includes("dryRun=All"));
      // Those that are created, configured, made again, refused: the others are known without asking.
      expect(asked.length).toBeGreaterThanOrEqual(9);
      expect(asked.every(({ verb }) => verb === "patch")).toBe(true);
    }
  });

  it("prints the same for people and for a comment on the change, and ends with 3", async () => {
    const text = await fleet("diff", "shop", "--branch", "feature");
    expect(text.status, text.output).toBe(3);
    expect(text.stdout).toMatch(/^7 created, 2 configured, 1 deleted and made again, 1 pruned on 2 clusters; 1 cluster in 1 other way/m);
    expect(text.stdout).toMatch(/^ {2}~ ConfigMap\/default\/settings$/m);
    expect(text.stdout).toMatch(/^ {6}\/data\/value: "1" → "2"$/m);
    expect(text.stdout).toMatch(/^waves: canary \(2 clusters; then healthy, soak 1 s\) → rest \(1 cluster; then healthy\); the last rollout took /m);
    expect(text.output).toContain("asking clusters");
    const markdown = await fleet("diff", "shop", "--branch", "feature", "--all", "-o", "markdown");
    expect(markdown.stdout).toContain("| ~ | `ConfigMap/default/settings` |");
    const one = await diff("--branch", "feature", "--cluster", "b-1");
    expect(one.groups.map(({ clusters }) => clusters)).toEqual([["b-1"]]);
  }, 120_000);

  it("says of a revision and of a working copy the same as of their branch", async () => {
    const revision = await forge.repository.resolve("feature");
    const folder = join(platform.folder, "copy");
    for (const [path, content] of Object.entries({ ...first, ...change }).filter(([, text]) => text !== null)) {
      await mkdir(join(folder, dirname(path)), { recursive: true });
      await writeFile(join(folder, path), content as string);
    }
    const named = await diff("--revision", revision);
    expect(named.groups).toEqual(withoutHashes(foreseen, named));
    const copied = await diff("--path", folder);
    expect(copied.revision).toBeNull();
    expect(copied.groups).toEqual(withoutHashes(foreseen, copied));
  }, 120_000);

  it("ends with 0 where there is no difference, and tells what is wrong with a change that cannot be rendered", async () => {
    const same = await fleet("diff", "shop", "--branch", "main");
    expect(same.status, same.output).toBe(0);
    expect(same.stdout).toContain("nothing would change");
    await forge.repository.createBranch("broken");
    await forge.repository.commit({ "web/settings.yaml": "kind: [" }, { branch: "broken", message: "Broken" });
    const broken = await fleet("diff", "shop", "--branch", "broken");
    expect(broken.status).toBe(1);
    expect(broken.output).toContain("web/settings.yaml");
    const nowhere = await fleet("diff", "shop", "--branch", "no-such-branch");
    expect(nowhere.status).toBe(1);
    expect(nowhere.output).toContain("no-such-branch");
    expect((await fleet("diff", "shop", "--branch", "main", "--cluster", "c-9")).output).toContain("c-9");
  }, 120_000);

  it("predicts, object by object, what the apply then does", async () => {
    await forge.push(change, { message: "A change" });
    for (const { name } of platform.members) await compare(name);
  }, 180_000);

  it("foresees what would be refused, why, and that prunes wait for it; and so it is", async () => {
    for (const { name } of platform.members) before.set(name, await snapshot(name));
    await forge.repository.createBranch("refused");
    await forge.repository.commit(refused, { branch: "refused", message: "Refused" });
    foreseen = await diff("--branch", "refused");
    const everywhere = { "/ConfigMap/default/fixed": "refuse", "/ConfigMap/default/added": "hold-prune" };
    expect(actionsOf(foreseen, "a-1")).toEqual({ ...everywhere, "/ConfigMap/default/denied": "create" });
    expect(actionsOf(foreseen, "b-1")).toEqual({ ...everywhere, "/ConfigMap/default/denied": "refuse" });
    const messages = (groupOf(foreseen, "b-1")?.objects ?? []).map(({ message }) => message);
    expect(messages).toContainEqual(expect.stringContaining("nothing that is labelled deny"));
    expect(messages).toContainEqual(expect.stringMatching(/cannot be changed in place.*flotilla\.dev\/force: recreate/));
    expect(messages).toContain("it waits until everything is applied; ConfigMap default/denied would not be");
    await forge.push(refused, { message: "Refused" });
    for (const { name } of platform.members) await compare(name);
    await forge.push({ "web/fixed.yaml": first["web/fixed.yaml"], "web/denied.yaml": null }, { message: "Mended" });
    await waitForValue(
      async () => (await platform.hub.api.targets("shop")).map(({ cluster, sync }) => `${cluster} ${sync}`).sort(),
      // In b-1 the object of somebody else stays what it is.
      (rows) => rows.join() === "a-1 Synced,a-2 Synced,b-1 OutOfSync",
      { what: "what was refused is mended", timeoutMs: 60_000 },
    );
  }, 180_000);

  it("foresees prunes that would wait for an approval, and they do", async () => {
    const was = await snapshot("a-1");
    await forge.repository.createBranch("clearance");
    await forge.repository.commit(clearance, { branch: "clearance", message: "Clearance" });
    const preview = await diff("--branch", "clearance");
    expect(actionsOf(preview, "b-1")).toMatchObject({ "/ConfigMap/default/many-1": "hold-prune", "/ConfigMap/default/many-3": "hold-prune" });
    const why = groupOf(preview, "a-1")?.objects.find(({ action }) => action === "hold-prune")?.message;
    expect(why).toBe("3 of 4 objects of bundle many would be deleted, 2 are allowed without approval");
    await forge.push(clearance, { message: "Clearance" });
    await waitForValue(
      async () => (await platform.hub.api.targets("shop")).find(({ cluster }) => cluster === "a-1")?.message,
      (message) => message?.includes("2 are allowed without approval") ?? false,
      { what: "a-1 waits for an approval", timeoutMs: 60_000 },
    );
    expect(changesSince(was, await snapshot("a-1"))).toEqual({});
  }, 120_000);

  it("knows nothing of a cluster whose agent is away, and says since when", async () => {
    await platform.member("b-1").agent.stop();
    await waitForValue(
      () => platform.hub.api.cluster("b-1"),
      ({ phase }) => phase !== "Connected",
      { what: "the hub sees that b-1 is away", timeoutMs: 90_000 },
    );
    await forge.repository.createBranch("next");
    await forge.repository.commit({ "web/same.yaml": configMap("same", { value: "2" }) }, { branch: "next", message: "Next" });
    const preview = await diff("--branch", "next");
    expect(preview.unknown).toEqual([{ clusters: ["b-1"], reason: expect.stringMatching(/^it is away since \d{4}-/) }]);
    const only = await fleet("diff", "shop", "--branch", "next", "--cluster", "b-1");
    expect(only.status).toBe(4);
  }, 150_000);

  /** What was done to every object since a snapshot. */
  function changesSince(was: ReadonlyMap<string, KubeObject>, now: ReadonlyMap<string, KubeObject>): Record<string, string> {
    const changes: Record<string, string> = {};
    for (const key of new Set([...was.keys(), ...now.keys()])) {
      const [old, fresh] = [was.get(key)?.metadata, now.get(key)?.metadata];
      if (key.includes("/flotilla-system/")) continue;
      if (!old) changes[key] = "create";
      else if (!fresh) changes[key] = "prune";
      else if (old.uid !== fresh.uid) changes[key] = "recreate";
      else if (old.resourceVersion !== fresh.resourceVersion) changes[key] = "configure";
    }
    return changes;
  }

  async function compare(cluster: string): Promise<void> {
    const written = new Set<PreviewAction>(["create", "configure", "recreate", "prune"]);
    const predicted = Object.entries(actionsOf(foreseen, cluster)).filter(([, action]) => written.has(action));
    const was = before.get(cluster) ?? new Map<string, KubeObject>();
    // It is enough that nothing of it is missing: what was done beside it shows below.
    await waitForValue(
      async () => changesSince(was, await snapshot(cluster)),
      (changes) => predicted.every(([object]) => object in changes),
      { what: `everything foreseen was done in ${cluster}`, timeoutMs: 60_000 },
    );
    const now = await snapshot(cluster);
    expect(changesSince(was, now), cluster).toEqual(Object.fromEntries(predicted));
    for (const { object, action, fields } of groupOf(foreseen, cluster)?.objects ?? [])
      if (action === "configure" && !object.startsWith("/Secret/"))
        for (const { path, after } of fields) expect(JSON.stringify(at(now.get(object), path)) ?? "", `${object} ${path}`).toBe(after);
    const refusals = (groupOf(foreseen, cluster)?.objects ?? []).filter(({ action }) => action === "refuse" || action === "conflict");
    const told = async () => {
      const rows = await platform.hub.api.objects({ cluster, fleet: "shop" });
      return refusals.map(({ object }) => rows.find(({ kind, name }) => object.endsWith(`/${name}`) && object.includes(`/${kind}/`))?.message ?? "");
    };
    const messages = await waitForValue(told, (found) => !found.includes(""), { what: `${cluster} has told what was refused`, timeoutMs: 30_000 });
    expect(messages).toEqual(refusals.map(({ message }) => message));
  }
});

/** Hashes of Secrets' values are of one preview alone. */
function withoutHashes(wanted: Preview, given: Preview): Preview["groups"] {
  const fieldsOf = (cluster: string, object: string) =>
    given.groups.find(({ clusters }) => clusters.includes(cluster))?.objects.find((found) => found.object === object)?.fields ?? [];
  return wanted.groups.map((group) => ({
    ...group,
    objects: group.objects.map((object) =>
      object.object.startsWith("/Secret/") ? { ...object, fields: fieldsOf(group.clusters[0] ?? "", object.object) } : object,
    ),
  }));
}

/** What a JSON pointer names. */
function at(object: unknown, pointer: string): unknown {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce<unknown>((value, part) => (value as Record<string, unknown> | undefined)?.[part], object);
}
