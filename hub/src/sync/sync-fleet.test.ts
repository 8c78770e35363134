import { trace } from "@opentelemetry/api";
import { describe, expect, it } from "vitest";
import { TreeMemory } from "../domain/noted-tree.ts";
import type { Problem } from "../domain/problem.ts";
import type { PlacedCluster } from "../domain/target.ts";
import { openRenderTools } from "../render/render-tools.ts";
import { openSurveyMemory } from "../render/survey-bundle.ts";
import { treeOf } from "../render/tree-for-tests.ts";
import { followedFleet } from "./fleet-for-tests.ts";
import type { FollowedFleet, FoundRevision, SyncCause } from "./ports.ts";
import { type Release, type SavedRevision, syncFleet, type SyncFleetPorts } from "./sync-fleet.ts";

const lease = { name: "repository/1", holder: "test", fence: 1n };
const [good, newer] = ["a".repeat(40), "b".repeat(40)];
const configMap = (name: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n`;

const fleet = followedFleet;

function found(revision: string, more: Partial<FoundRevision> = {}): FoundRevision {
  return { revision, tree: "", author: "", subject: "", committedAt: null, rewound: false, ...more };
}

function cause(): SyncCause {
  const now = new Date();
  return { kind: "poll", startedAt: now, fetchedFrom: now, fetchedAt: now, traceparent: null };
}

/** A store that remembers what it was told, over trees by revision. */
function rig(
  trees: Record<string, Record<string, string>>,
  options: { clusters?: readonly string[]; targeted?: readonly string[]; leavingForMs?: number; approved?: readonly string[] } = {},
) {
  const told = {
    saved: [] as SavedRevision[],
    failed: [] as (readonly Problem[])[],
    stalled: [] as (readonly Problem[])[],
    released: [] as Release[],
    phases: [] as string[],
  };
  const clusters: PlacedCluster[] = (options.clusters ?? ["one"]).map((name) => ({ name, labels: {} }));
  const ports: SyncFleetPorts = {
    tracer: trace.getTracer("test"),
    tools: openRenderTools({ tool: () => Promise.reject(new Error("plain YAML needs no tool")), versions: { helm: "0", kustomize: "0" } }),
    memory: openSurveyMemory(),
    fleetFiles: new TreeMemory(1_000),
    cache: { find: async () => new Map(), save: async () => undefined },
    async openTree(revision) {
      const files = trees[revision];
      return files === undefined ? { ok: false, problem: { code: "revision-not-here", message: "not here" } } : { ok: true, tree: treeOf(files) };
    },
    readClusters: async () => clusters,
    readOwners: async () => new Map(),
    readTargeted: async () => ({
      clusters: (options.targeted ?? []).map((cluster) => ({ cluster, leavingForMs: options.leavingForMs ?? null })),
      leftLately: 0,
      approved: options.approved ?? [],
    }),
    readTraceparent: async () => null,
    saveFailure: async (_lease, { problems }) => void told.failed.push(problems),
    async saveRevision(_lease, saved) {
      told.saved.push(saved);
      return { id: "1", phase: "Running", isImmediate: true };
    },
    readFleetRollout: async () => undefined,
    stagePlacements: async () => undefined,
    releaseWave: async () => undefined,
    saveFleetProblems: async (_lease, _fleet, problems) => void told.stalled.push(problems),
    releaseTargets: async (_lease, release) => void told.released.push(release),
    savePhases: async (_fleet, _revision, phases) => void told.phases.push(...phases.map(({ phase }) => phase)),
  };
  const run = (state: FollowedFleet, seen: FoundRevision | readonly Problem[], placementWanted = false, tryAgain = false) =>
    syncFleet(ports, {
      lease,
      fleet: state,
      found: seen,
      cause: cause(),
      placementWanted,
      gitRevision: isProblemList(seen) ? undefined : seen.revision,
      tryAgain,
      signal: new AbortController().signal,
    });
  return { told, run, ports };
}

const isProblemList = (seen: FoundRevision | readonly Problem[]): seen is readonly Problem[] => Array.isArray(seen);

describe("syncing a fleet", () => {
  it("takes a new revision: saved, then released to every cluster it selects, each step timed", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") } }, { clusters: ["one", "two"] });
    await run(fleet(), found(good));
    expect(told.saved.map(({ found: { revision } }) => revision)).toEqual([good]);
    expect(told.released).toHaveLength(1);
    expect(told.released[0]?.placed.map(({ cluster }) => cluster)).toEqual(["one", "two"]);
    expect(told.phases).toEqual(["poll", "fetch", "read", "render", "place", "release"]);
  });

  it("does nothing for a revision that it has", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") } });
    await run(fleet({ revision: good, seenRevision: good }), found(good));
    expect(told).toEqual({ saved: [], failed: [], stalled: [], released: [], phases: [] });
  });

  it("keeps the last good revision when the newest is broken, and places that one when clusters changed", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") }, [newer]: { "a.yaml": "kind: [" } });
    await run(fleet({ revision: good, seenRevision: good }), found(newer), true);
    expect(told.saved).toEqual([]);
    expect(told.failed[0]?.[0]).toMatchObject({ file: "a.yaml" });
    expect(told.released.map(({ revision }) => revision)).toEqual([good]);
  });

  it("never releases an empty fleet: zero documents are a problem", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") }, [newer]: { "notes.txt": "gone" } }, { targeted: ["one"] });
    await run(fleet({ revision: good, seenRevision: good }), found(newer));
    expect(told.failed).toHaveLength(1);
    expect(told.released).toEqual([]);
  });

  it("tells that Git cannot be followed, touches nothing, and forgets it with the next good fetch", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") } });
    const unreachable = [{ code: "unreachable", message: "no answer", ofSource: true as const }];
    await run(fleet({ revision: good, seenRevision: good }), unreachable);
    expect(told).toMatchObject({ stalled: [unreachable], released: [], saved: [] });
    await run(fleet({ revision: good, seenRevision: good, problems: unreachable }), found(good));
    expect(told.stalled).toEqual([unreachable, []]);
  });

  it("looks again at a broken revision after Git was away, so that its own problems are told again", async () => {
    const { told, run } = rig({ [newer]: { "a.yaml": "kind: [" } });
    await run(fleet({ revision: good, seenRevision: newer, problems: [{ code: "unreachable", message: "no answer", ofSource: true }] }), found(newer));
    expect(told.failed).toHaveLength(1);
  });

  it("takes a revision whose render ran out of time when it is asked to try again, and not before", async () => {
    const { told, run } = rig({ [newer]: { "a.yaml": configMap("a") } });
    const late = fleet({ revision: good, seenRevision: newer, problems: [{ code: "render-timeout", message: "helm did not end in time" }] });
    await run(late, found(newer));
    expect(told).toMatchObject({ saved: [], failed: [] });
    await run(late, found(newer), false, true);
    expect(told.released.map(({ revision }) => revision)).toEqual([newer]);
  });

  it("keeps a cluster that it no longer selects for an hour, and lets it go then without deleting what runs there", async () => {
    const files = { [good]: { "a.yaml": configMap("a") } };
    const leaving = rig(files, { clusters: ["one"], targeted: ["one", "gone"] });
    await leaving.run(fleet(), found(good));
    expect(leaving.told.released[0]).toMatchObject({ removals: [], leaving: [{ cluster: "gone", graceMs: 3_600_000 }], staying: ["one"] });
    const over = rig(files, { clusters: ["one"], targeted: ["one", "gone"], leavingForMs: 3_600_000 });
    await over.run(fleet(), found(good));
    expect(over.told.released[0]).toMatchObject({ removals: [{ cluster: "gone", policy: "orphan" }], leaving: [] });
  });

  it("removes nobody while more leave than may without a person, and adds whom it selects all the same", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") } }, { clusters: ["one", "new"], targeted: ["one", "x", "y"], leavingForMs: 10 ** 9 });
    await run(fleet(), found(good));
    expect(told.released[0]).toMatchObject({ removals: [], heldRemoval: { clusters: ["x", "y"], of: 3 }, placed: [{ cluster: "one" }, { cluster: "new" }] });
  });

  it("keeps everything as it is when clusters and their labels cannot be read (fault 2)", async () => {
    const { told, run, ports } = rig({ [good]: { "a.yaml": configMap("a") } }, { clusters: ["one"], targeted: ["one", "x"], leavingForMs: 10 ** 9 });
    ports.readClusters = () => Promise.reject(new Error("the inventory answered 500"));
    await expect(run(fleet({ revision: good, seenRevision: good }), found(good), true)).rejects.toThrow("500");
    expect(told.released).toEqual([]);
  });

  it("takes a deleted fleet from every cluster by the policy that was asked for, without looking at Git", async () => {
    const { told, run } = rig({}, { targeted: ["one", "two"] });
    await run(fleet({ revision: good, seenRevision: good, deleting: "delete" }), found(newer));
    expect(told.released[0]).toMatchObject({
      placed: [],
      removals: [
        { cluster: "one", policy: "delete" },
        { cluster: "two", policy: "delete" },
      ],
    });
    expect(told.saved).toEqual([]);
  });

  it("says whether what it releases is what Git says now, or only what the store had (fault 3)", async () => {
    const { told, run } = rig({ [good]: { "a.yaml": configMap("a") }, [newer]: { "a.yaml": "kind: [" } });
    await run(fleet(), found(good));
    await run(fleet({ revision: good, seenRevision: good }), found(good), true);
    await run(fleet({ revision: good, seenRevision: good }), [{ code: "unreachable", message: "no answer" }], true);
    await run(fleet({ revision: good, seenRevision: good }), found(newer), true);
    expect(told.released.map(({ isCurrent }) => isCurrent)).toEqual([true, true, false, false]);
  });

  it("warns of words of other programs that it does not honour, once each, and keeps a bounded number of warnings", async () => {
    const said = (index: number, word: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a-${index}\n  annotations: { argocd.argoproj.io/sync-options: "${word}" }\n`;
    const same = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`${index}.yaml`, said(index, "Replace=true")]));
    const few = rig({ [good]: same });
    await few.run(fleet(), found(good));
    expect(few.told.saved[0]?.warnings).toMatchObject([{ code: "directive-not-honoured", file: "0.yaml", bundle: "shop" }]);
    const bundles = Array.from({ length: 5 }, (_, index) => `b${index}`);
    const fleetYaml = `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\nspec:\n  clusters: {}\n  bundles: [${bundles.map((name) => `{ name: ${name} }`).join(", ")}]\n`;
    const many = Object.fromEntries(
      bundles.flatMap((name) => Array.from({ length: 150 }, (_, index) => [`${name}/${index}.yaml`, said(index, `${name}${index}=x`)])),
    );
    const bounded = rig({ [good]: { "fleet.yaml": fleetYaml, ...many } });
    await bounded.run(fleet(), found(good));
    expect(bounded.told.saved[0]?.warnings.length).toBe(501);
    expect(bounded.told.saved[0]?.warnings.at(-1)).toMatchObject({ code: "more-warnings", message: expect.stringContaining("250 more") });
  });

  it("warns when the ref was moved to a commit that does not descend from the last", async () => {
    const { told, run } = rig({ [newer]: { "a.yaml": configMap("a") } });
    await run(fleet({ revision: good, seenRevision: good }), found(newer, { rewound: true }));
    expect(told.saved[0]?.warnings.map(({ code }) => code)).toContain("source-rewound");
  });

  it.each([
    ["v1.0.0", "'1.x' went back from tag v1.1.0 to v1.0.0: the newer tag is gone"],
    ["v1.1.0", `tag v1.1.0, the newest of '1.x', was moved from ${good.slice(0, 12)} to ${newer.slice(0, 12)}`],
  ])("names both tags when a semver range goes back or its tag is moved (%s)", async (tag, message) => {
    const { told, run } = rig({ [newer]: { "a.yaml": configMap("a") } });
    await run(fleet({ ref: { semver: "1.x" }, revision: good, seenRevision: good, seenTag: "v1.1.0" }), found(newer, { tag, rewound: true }));
    expect(told.saved[0]?.warnings).toContainEqual(expect.objectContaining({ code: "source-rewound", message }));
  });
});
