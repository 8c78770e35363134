import { fork } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startKubeCluster, type KubeCluster } from "../../harness/kube-cluster.ts";
import { removeFolder, scratchFolder } from "../../harness/scratch-folder.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { configMap, keepTarget, startEngine, SyncState, testTarget, type TestBundle, type TestTarget } from "../agent-fixture.ts";

const engineProcess = fileURLToPath(new URL("crash-engine-process.ts", import.meta.url));
const agentSources = fileURLToPath(new URL("../../../agent/src", import.meta.url));

/** Every failpoint of the agent, read from its sources: a new one is tested here without being named. */
async function failpointsOfTheCode(): Promise<string[]> {
  const files = (await readdir(agentSources, { recursive: true })).filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"));
  const texts = await Promise.all(files.map((file) => readFile(join(agentSources, file), "utf8")));
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/\bfailpoint\("([^"]+)"\)/g)].map((match) => match[1] ?? "")))].sort();
}

/** What is done to a cluster: before the kill, for the process that is killed, and for the one that comes after it. */
interface Workload {
  readonly name: string;
  readonly before: (id: string) => TestTarget[];
  readonly byHand?: (cluster: KubeCluster, id: string) => Promise<void>;
  readonly during: (id: string) => TestTarget[];
  readonly after: (id: string) => TestTarget[];
  /** Failpoints that it cannot reach, or that another workload reaches in the same way. */
  readonly skips?: RegExp;
  /** Names that are there in the end, and the fleet that holds each. */
  readonly left: Readonly<Record<string, string>>;
}

const inNamespace = (id: string, name: string, value: string) => configMap(name, { value }, id);
const bundle = (id: string, name: string, value: string, objects: readonly string[], more: readonly object[] = []): TestBundle => ({
  name,
  pruneBudget: { objects: 50, percent: 0 },
  objects: [...objects.map((object) => inNamespace(id, object, value)), ...more],
});
const annotated = (object: ReturnType<typeof configMap>, annotations: Record<string, string>) => ({ ...object, metadata: { ...object.metadata, annotations } });
const frozen = (id: string, value: string) => ({ ...annotated(inNamespace(id, "frozen", value), { "flotilla.dev/force": "recreate" }), immutable: true });
const hook = (id: string, value: string, name = "hook", phase = "pre") => annotated(inNamespace(id, name, value), { "flotilla.dev/hook": phase });

const workloads: readonly Workload[] = [
  {
    name: "update, prune, move between bundles, recreate, hook",
    before: (id) => [
      testTarget("one", 1, [bundle(id, "web", "1", ["a", "moves", "old-1", "old-2"], [frozen(id, "1"), hook(id, "1")]), bundle(id, "api", "1", ["b"])]),
    ],
    during: (id) => [
      testTarget("one", 2, [
        bundle(id, "web", "2", ["a", "new-1", "new-2", "new-3"], [frozen(id, "2"), hook(id, "2")]),
        bundle(id, "api", "2", ["b", "moves"]),
      ]),
    ],
    // The target changes once more before the agent is back: what the killed one made must not be forgotten.
    after: (id) => [testTarget("one", 3, [bundle(id, "web", "3", ["a", "new-3"]), bundle(id, "api", "3", ["b"])])],
    left: { a: "one", "new-3": "one", b: "one" },
  },
  {
    name: "objects deleted by hand are made again, and then leave Git",
    before: (id) => [testTarget("heal", 1, [bundle(id, "web", "1", ["a", "gone-1", "gone-2", "gone-3"])])],
    byHand: async (cluster, id) => {
      for (const name of ["gone-1", "gone-2", "gone-3"]) await cluster.client.delete(`/api/v1/namespaces/${id}/configmaps/${name}`);
    },
    during: () => [],
    after: (id) => [testTarget("heal", 3, [bundle(id, "web", "3", ["a", "gone-3"])])],
    skips: /hook|recreate|outbox/,
    left: { a: "heal", "gone-3": "heal" },
  },
  {
    name: "a bundle goes from one fleet to another, which drops a part of it",
    before: (id) => [
      testTarget("from", 1, [bundle(id, "base", "1", ["f"]), bundle(id, "web", "1", ["a", "b", "c"])]),
      testTarget("to", 1, [bundle(id, "base", "1", ["t"])]),
    ],
    during: (id) => [
      testTarget("from", 2, [bundle(id, "base", "1", ["f"])]),
      testTarget("to", 2, [bundle(id, "base", "1", ["t"]), bundle(id, "web", "2", ["a", "b", "c"])]),
    ],
    after: (id) => [testTarget("to", 3, [bundle(id, "base", "3", ["t"]), bundle(id, "web", "3", ["a", "b"])])],
    skips: /hook|recreate|outbox|forget-uid/,
    left: { f: "from", t: "to", a: "to", b: "to" },
  },
  {
    name: "a bundle is removed, with hooks before and after",
    before: (id) => [
      testTarget("leave", 1, [
        bundle(id, "stays", "1", ["a"]),
        bundle(id, "goes", "1", ["x-1", "x-2", "x-3"], [hook(id, "1", "before", "pre-delete"), hook(id, "1", "after", "post-delete")]),
      ]),
    ],
    during: (id) => [testTarget("leave", 2, [bundle(id, "stays", "1", ["a"])])],
    after: (id) => [testTarget("leave", 3, [bundle(id, "stays", "3", ["a"])])],
    skips: /widen|recreate|outbox|forget-uid/,
    left: { a: "leave" },
  },
];

await describeWith(kubeTools, "the agent is killed", async () => {
  let cluster: KubeCluster;
  const names = await failpointsOfTheCode();
  const killedAt = new Map<string, string[]>();
  /** Each has namespaces of its own: what one left would fail the next. */
  let tries = 0;

  beforeAll(async () => {
    cluster = await startKubeCluster({ name: "crash-safety", auditLog: true });
  });
  afterAll(async () => {
    await cluster.stop();
  });

  async function runUntilKilled(failpoint: string, stateNamespace: string): Promise<boolean> {
    const folder = await scratchFolder("crash-outbox");
    const child = fork(engineProcess, [cluster.kubeconfig, stateNamespace, folder], {
      env: { ...process.env, FLOTILLA_FAILPOINT: failpoint },
      stdio: "inherit",
      execArgv: [],
    });
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    await removeFolder(folder);
    expect(signal ?? code, failpoint).toSatisfy((end) => end === "SIGKILL" || end === 0);
    return signal === "SIGKILL";
  }

  const contentOf = async (id: string) =>
    (await cluster.client.list(`/api/v1/namespaces/${id}/configmaps`)).filter((object) => object.metadata.name !== "kube-root-ca.crt");

  async function entriesOf(stateNamespace: string, fleet: string): Promise<[string, string][]> {
    const shards = await cluster.client.list(`/api/v1/namespaces/${stateNamespace}/configmaps`);
    const mine = shards.filter((shard) => shard.metadata.name.startsWith(`flotilla-inventory-${fleet}-`));
    const rows = mine.flatMap((shard) => String(shard.data.entries).split("\n")).filter((row) => row !== "");
    return rows.map((row) => JSON.parse(row) as string[]).map(([key = "", , , uid = ""]) => [key, uid]);
  }

  async function check(workload: Workload, failpoint: string, id: string): Promise<void> {
    const stateNamespace = `${id}-state`;
    const options = { stateNamespace, handOverMs: 0 };
    for (const name of [id, stateNamespace]) await cluster.client.create("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    const setup = await startEngine(cluster, options);
    for (const target of workload.before(id)) await setup.sync(target);
    await setup.waitForQuiet();
    await setup.stop();
    await workload.byHand?.(cluster, id);
    for (const target of workload.during(id)) await keepTarget(cluster, target, stateNamespace);
    if (await runUntilKilled(failpoint, stateNamespace)) killedAt.set(failpoint, [...(killedAt.get(failpoint) ?? []), workload.name]);
    for (const target of workload.after(id)) await keepTarget(cluster, target, stateNamespace);
    const agent = await startEngine(cluster, options);
    const fleets = new Set(Object.values(workload.left));
    await waitFor(() => [...fleets].every((fleet) => agent.summary(fleet)?.sync === SyncState.SYNCED) && agent.engine.isQuiet, {
      what: `${id} (${failpoint}, ${workload.name}) in sync`,
      timeoutMs: 20_000,
    }).catch(async (error: Error) => {
      const told = [...fleets].map((fleet) => `${fleet}: ${agent.summary(fleet)?.sync} ${agent.summary(fleet)?.message}`).join("; ");
      await agent.stop();
      throw new Error(
        `${error.message}: ${told}; quiet: ${agent.engine.isQuiet}; ${agent.events.map((event) => `${event.reason} ${event.message}`).join("; ")}`,
        { cause: error },
      );
    });
    await agent.stop();
    const content = await contentOf(id);
    expect(content.map((object) => object.metadata.name).sort(), `${failpoint}: ${workload.name}: what is left in the cluster`).toEqual(
      Object.keys(workload.left).sort(),
    );
    for (const fleet of fleets) {
      const expected = content
        .filter((object) => workload.left[object.metadata.name] === fleet)
        .map((object) => [`/ConfigMap/${id}/${object.metadata.name}`, object.metadata.uid]);
      expect((await entriesOf(stateNamespace, fleet)).sort(), `${failpoint}: ${workload.name}: the inventory of ${fleet}`).toEqual(expected.sort());
    }
  }

  it("at least at the failpoints that guarantee G8 names", () => {
    expect(names).toEqual(
      expect.arrayContaining([
        "before-widen-inventory",
        "after-widen-inventory",
        "after-apply-object",
        "after-apply-before-inventory",
        "after-prune-object",
        "after-forget-uid",
      ]),
    );
  });

  // The second and later hits of the points that are reached once for each object.
  const hits = (name: string) => (/object$|uid$/.test(name) ? [1, 3] : name.endsWith("hook") ? [1, 2] : [1]);
  const cases = workloads.flatMap((workload) =>
    names.filter((name) => !workload.skips?.test(name)).flatMap((name) => hits(name).map((hit) => ({ workload, failpoint: `${name}:${hit}` }))),
  );
  it(`at each of ${names.length} failpoints in each of ${workloads.length} workloads, and leaves no orphan and no forgotten object (G8, fault 15)`, async () => {
    const queue = cases.entries();
    const failures: string[] = [];
    tries += 1;
    const worker = async () => {
      for (const [index, { workload, failpoint }] of queue)
        await check(workload, failpoint, `crash-${tries}-${index}`).catch((error: unknown) => failures.push(String((error as Error).message)));
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    expect(failures).toEqual([]);
    const reached = new Set([...killedAt.keys()].map((failpoint) => failpoint.split(":")[0]));
    expect(
      names.filter((name) => !reached.has(name)),
      "failpoints that no workload of this file reaches: extend a workload",
    ).toEqual([]);
  }, 240_000);
});
