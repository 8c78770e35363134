import { readFile, writeFile } from "node:fs/promises";
import { KubeClient, type KubeAnswer, type KubeRequest } from "@flotilla/agent/cluster/kube-client";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startKubeCluster } from "../../harness/kube-cluster.ts";
import { startTcpProxy } from "../../harness/tcp-proxy.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { judgeDeletes, type History, type Judgement, type SentTarget } from "./deletion-oracle.ts";
import { scenario } from "./deletion-scenarios.ts";
import { AuditTail, playWorld, troubles, type Stage, type WorldOptions } from "./deletion-worlds.ts";

/** How many scenarios are played: all of them with FLOTILLA_DELETION_CASES=1000 (see docs/testing.md). */
const cases = Number(process.env.FLOTILLA_DELETION_CASES ?? "36");
/** Always the same by default: others are for those who look for more (see docs/testing.md). */
const seed = Number(process.env.FLOTILLA_DELETION_SEED ?? 20_261_125);
// Each world has a trouble of its own: fewer scenarios are as many worlds.
const scenariosPerWorld = cases > 100 ? 12 : 6;
/** Worlds mostly wait; a long run plays more of them at a time. */
const worldsAtOnce = cases > 100 ? 8 : 3;
/** The API server's log is turned over at 100 MB. */
const scenariosPerCluster = 240;

async function startStage(): Promise<Stage & { stop(): Promise<void> }> {
  const cluster = await startKubeCluster({ name: "deletion-property", auditLog: true });
  const { hostname, port } = new URL(cluster.url);
  const proxy = await startTcpProxy({ target: { host: hostname, port: Number(port) } });
  const kubeconfig = `${cluster.kubeconfig}-proxied`;
  await writeFile(kubeconfig, (await readFile(cluster.kubeconfig, "utf8")).replace(cluster.url, `https://127.0.0.1:${proxy.port}`), { mode: 0o600 });
  return {
    cluster,
    proxy,
    kubeconfig,
    audit: new AuditTail(cluster.auditLogFile ?? ""),
    async stop() {
      await proxy.stop();
      await cluster.stop();
    },
  };
}

async function play(options: readonly WorldOptions[]): Promise<Judgement> {
  const total = { violations: [] as string[], approved: 0, unapproved: 0 };
  const worldsPerCluster = scenariosPerCluster / scenariosPerWorld;
  for (let from = 0; from < options.length; from += worldsPerCluster) {
    const stage = await startStage();
    try {
      const queue = options.slice(from, from + worldsPerCluster).values();
      const worker = async () => {
        for (const world of queue) {
          // An API server on a busy machine ends watches that are too slow: such a world is played once more, under another name.
          const history = (await playWorld(stage, world)) ?? (await playWorld(stage, { ...world, index: world.index + 10_000 }));
          if (!history) throw new Error(`world ${world.index} could not be watched, twice`);
          const judgement = judgeDeletes(history);
          const told = judgement.violations.map((violation) => `seed ${world.seed}, world ${world.index} (${world.trouble}): ${violation}`);
          if (!world.makeClient) for (const violation of told) process.stdout.write(`${violation}\n`);
          total.violations.push(...told);
          total.approved += judgement.approved;
          total.unapproved += judgement.unapproved;
        }
      };
      await Promise.all(Array.from({ length: worldsAtOnce }, worker));
    } finally {
      await stage.stop();
    }
    if (options.length > worldsPerCluster)
      process.stdout.write(`${Math.min(options.length, from + worldsPerCluster)} of ${options.length} worlds, ${total.violations.length} violations\n`);
  }
  return total;
}

const drawn = (count: number, of: number): WorldOptions[] => {
  const scenarios = fc.sample(scenario, { seed: of, numRuns: count });
  return Array.from({ length: Math.ceil(count / scenariosPerWorld) }, (_, index) => ({
    index,
    seed: of,
    scenarios: scenarios.slice(index * scenariosPerWorld, (index + 1) * scenariosPerWorld),
    trouble: troubles[index % troubles.length] ?? "nothing",
  }));
};

await describeWith(kubeTools, "whatever targets, people, faults and restarts do", () => {
  it(`no DELETE is sent that no rule of G5 to G7 allows: ${cases} drawn scenarios (seed ${seed}, replayed with FLOTILLA_DELETION_SEED=${seed})`, async () => {
    const judgement = await play(drawn(cases, seed));
    process.stdout.write(
      `deletion property: seed ${seed}, ${cases} scenarios, ${judgement.unapproved} deletes without and ${judgement.approved} with an approval, recreation or removal\n`,
    );
    expect(judgement.violations).toEqual([]);
    // A run in which nothing is deleted proves nothing.
    expect(judgement.unapproved).toBeGreaterThan(cases / 4);
    expect(judgement.approved).toBeGreaterThan(0);
  }, 3_600_000);

  it("and an agent with a planted bug is found out: one that does not see what people wrote on objects", async () => {
    const worlds = drawn(12, 7).map((world): WorldOptions => ({
      ...world,
      trouble: "nothing",
      makeClient: (...args) => new BlindClient(...args),
    }));
    expect((await play(worlds)).violations.join("\n")).toMatch(/guarded|asks for confirmation|names it|no right|never applied/);
  }, 120_000);
});

/** Reads and watches hide every annotation but the owner: guards set by hand are not seen. */
class BlindClient extends KubeClient {
  override async request(request: KubeRequest): Promise<KubeAnswer> {
    const answer = await super.request(request);
    return request.method === "GET" ? { ...answer, body: blinded(answer.body) } : answer;
  }

  override async watch(path: string, query: Record<string, string>, options: Parameters<KubeClient["watch"]>[2]): Promise<void> {
    await super.watch(path, query, { ...options, onLine: (line) => options.onLine(blinded(line)) });
  }
}

function blinded(body: Buffer): Buffer {
  return Buffer.from(body.toString("utf8").replaceAll(/"flotilla\.dev\/prune":"(disabled|confirm)"/g, '"flotilla.dev/prune":"enabled"'));
}

describe("the oracle", () => {
  const key = "/ConfigMap/n/a";
  const target = (generation: number, names: readonly string[], more: Partial<SentTarget> = {}): SentTarget => ({
    fleet: "shop",
    generation,
    revision: `r${generation}`,
    at: generation * 10_000,
    isComplete: true,
    objects: names.map((name) => ({ key: name, bundle: "web", annotations: {} })),
    pruneDefaults: {},
    budgets: {},
    isBroken: false,
    ...more,
  });
  const version = (of: string, annotations: Record<string, string> = {}) => ({
    key: of,
    uid: "u",
    resourceVersion: "5",
    annotations: { "flotilla.dev/owner": "shop/web", ...annotations },
    applied: "shop/1",
  });
  const deletion = (of: string, at = 25_000) => ({ key: of, at, uid: "u", resourceVersion: "5" });
  const history = (more: Partial<History> = {}): History => ({
    targets: [target(1, [key, "/ConfigMap/n/b"]), target(2, ["/ConfigMap/n/b"])],
    deletes: [deletion(key)],
    versions: [version(key)],
    heldLists: [],
    restarts: [],
    ...more,
  });
  const judge = (more: Partial<History> = {}) => judgeDeletes(history(more)).violations.join("\n");

  it("allows a prune within the budget", () => {
    expect(judge()).toBe("");
  });

  const set = "apps/StatefulSet/n/a";
  it.for<[string, Partial<History>, RegExp]>([
    ["of what the target names", { targets: [target(1, [key]), target(2, [key])] }, /names it/],
    ["for an empty target", { targets: [target(1, [key]), target(2, [])] }, /names it/],
    ["for an incomplete target", { targets: [target(1, [key]), target(2, ["/ConfigMap/n/b"], { isComplete: false })] }, /names it/],
    ["for an older target", { targets: [target(2, [key]), { ...target(1, ["/ConfigMap/n/b"]), at: 21_000 }] }, /names it/],
    ["without preconditions", { deletes: [{ ...deletion(key), uid: "" }] }, /preconditions/],
    ["of an object that was never applied", { versions: [{ ...version(key), annotations: {} }] }, /never applied/],
    ["of another object of the name", { versions: [{ ...version(key), uid: "other" }] }, /nobody saw/],
    ["of what a person guarded", { versions: [version(key, { "flotilla.dev/prune": "disabled" })] }, /guarded/],
    ["of what the bundle's default guards", { targets: [target(1, [key], { pruneDefaults: { web: "disabled" } }), target(2, ["/ConfigMap/n/b"])] }, /guarded/],
    ["of what asks for confirmation", { versions: [version(key, { "argocd.argoproj.io/sync-options": "Prune=confirm" })] }, /confirmation/],
    ["of a protected kind", { targets: [target(1, [set]), target(2, [key])], deletes: [deletion(set)], versions: [version(set)] }, /protected/],
    [
      "for an approval of another revision",
      {
        targets: [target(1, [set]), target(2, [key], { approval: { revision: "r1", digest: "ad9b8f" } })],
        deletes: [deletion(set)],
        versions: [version(set)],
      },
      /protected/,
    ],
    ["while something is not applied", { targets: [target(1, [key]), target(2, ["/ConfigMap/n/b"], { isBroken: true })] }, /fault 5/],
    [
      "of what another fleet names",
      { targets: [target(1, [key]), target(2, ["/ConfigMap/n/b"]), { ...target(1, [key]), fleet: "other" }] },
      /fleet other names it/,
    ],
    ["for a tombstone that orphans", { targets: [target(1, [key]), target(2, [], { tombstone: "orphan" })] }, /leaves everything/],
  ])("finds a DELETE %s", ([, more, why]) => {
    expect(judge(more)).toMatch(why);
  });

  it("finds more deletes than the budget allows, and the approved ones not among them", () => {
    const names = Array.from({ length: 6 }, (_, i) => `/ConfigMap/n/x${i}`);
    const over = {
      targets: [target(1, [...names, key]), target(2, [key])],
      deletes: names.map((name) => deletion(name)),
      versions: names.map((name) => version(name)),
    };
    expect(judge(over)).toMatch(/6 unapproved deletes, 5 allowed/);
  });
});
