import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fleetJsonSchema } from "./fleet-schema.ts";
import { fleetWithoutFile, parseFleet, type ParseFleetOptions } from "./parse-fleet.ts";
import { describeProblem } from "./problem.ts";
import type { FleetSpec } from "./fleet-spec.ts";
import type { SourceTree } from "./source-tree.ts";

function fleet(spec: string, head = "apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\n"): string {
  return `${head}spec:\n${spec
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n")}\n`;
}

function problemsOf(text: string, options?: ParseFleetOptions): string[] {
  const parsed = parseFleet(text, options);
  return parsed.ok ? [] : parsed.problems.map(describeProblem);
}

function specOf(text: string, options?: ParseFleetOptions): FleetSpec {
  const parsed = parseFleet(text, options);
  if (!parsed.ok) throw new Error(parsed.problems.map(describeProblem).join("\n"));
  return parsed.spec;
}

const bundles = "bundles:\n  - name: a\n";
const withClusters = `clusters: {}\n${bundles}`;

/** A tree of which only folders are asked. */
function treeOf(...files: string[]): SourceTree {
  const under = (folder: string): string[] => files.filter((file) => folder === "" || file.startsWith(`${folder}/`));
  return {
    revision: "r",
    treeId: "t",
    kindOf: (path) => (files.includes(path) ? "file" : under(path).length > 0 ? "folder" : undefined),
    refused: (path) => (path === "link" ? { code: "symlink", message: "'link' is not read: it is a symlink", file: "link" } : undefined),
    files: (folder) => under(folder).map((path) => ({ path, bytes: 1, blob: "b" })),
    read: () => Promise.resolve(new Map()),
    idOf: () => undefined,
  };
}

describe("parseFleet", () => {
  it("reads the example of the README and fills in defaults", () => {
    const spec = specOf(readFileSync(new URL("../../../test/fixtures/shop/fleet.yaml", import.meta.url), "utf8"));
    expect(spec.name).toBe("shop");
    expect(spec.bundles.map(({ name, path, dependsOn }) => [name, path, dependsOn])).toEqual([
      ["platform", "platform", []],
      ["storefront", "apps/storefront/base", ["platform"]],
      ["checkout", "charts/checkout", ["platform"]],
    ]);
    expect(spec.bundles[0]).toMatchObject({
      combine: "first",
      overlays: [],
      policy: { drift: "heal", ignore: [], healthTimeoutMs: 300_000, pruneBudget: { objects: 5, percent: 10 } },
    });
  });

  it("reads everything that the design shows", () => {
    const spec = specOf(
      fleet(`clusters: { matchExpressions: [{ key: env, operator: In, values: [prod] }] }
values: { domain: example.com, deep: { list: [1, 2.5, true, null] } }
bundles:
  - name: web
    path: ./apps/web/
    namespace: shop
    combine: all
    overlays:
      - clusters: { matchLabels: { env: prod } }
        path: apps/prod
        values: { replicas: 5 }
        patches:
          - { target: { kind: Deployment }, patch: "- op: remove\\n  path: /spec/replicas" }
          - patch: { kind: Service, metadata: { name: web } }
          - patch: [{ op: remove, path: /spec }]
    drift: { mode: report, ignore: [{ kind: Deployment, paths: [/spec/replicas] }] }
    health: { timeout: 1h30m, checks: [{ kind: Kafka, current: "status.ready == true" }] }
    prune: { budget: 3 }
    serviceAccount: shop/deployer
  - name: other
    prune: { budget: 25% }
rollout:
  waves:
    - { name: canary, clusters: { matchLabels: { tier: canary } }, after: { healthy: true, soak: 10m } }
    - { name: europe, clusters: { matchLabels: { region: eu } }, maxConcurrency: 25%, after: { approval: ops } }
    - { name: rest }
  failureBudget: 2%
  onFailure: rollback`),
    );
    expect(spec.values).toEqual({ domain: "example.com", deep: { list: [1, 2.5, true, null] } });
    expect(spec.bundles[0]).toMatchObject({
      path: "apps/web",
      namespace: "shop",
      combine: "all",
      policy: {
        drift: "report",
        healthTimeoutMs: 5_400_000,
        healthChecks: [{ kind: "Kafka", current: "status.ready == true" }],
        serviceAccount: "shop/deployer",
        pruneBudget: { objects: 3, percent: 0 },
      },
    });
    expect(spec.bundles[0]?.overlays[0]?.patches.map(({ patch }) => patch)).toEqual([
      "- op: remove\n  path: /spec/replicas",
      '{"kind":"Service","metadata":{"name":"web"}}',
      '[{"op":"remove","path":"/spec"}]',
    ]);
    expect(spec.bundles[1]).toMatchObject({ path: "other", policy: { pruneBudget: { objects: 5, percent: 25 } } });
    expect(spec.rollout).toMatchObject({ onFailure: "rollback" });
  });

  it("tells a wrong health check at its line and column, and where in the expression", () => {
    const parsed = parseFleet(
      fleet('clusters: {}\nbundles:\n  - name: a\n    health:\n      checks:\n        - kind: Kafka\n          current: "status.ready == redy"\n'),
    );
    expect(parsed).toMatchObject({
      ok: false,
      problems: [{ code: "bad-expression", line: 11, column: 22, message: "current: Unknown variable: redy, at column 17 of the expression" }],
    });
  });

  it("fills in what a rollout does not say, and reads what it says", () => {
    expect(specOf(fleet(`${withClusters}rollout: { onFailure: hold }`)).rollout).toEqual({
      waves: [{ name: "all", clusters: {}, after: { healthy: true, soakMs: 0, metrics: [], jobs: [] } }],
      failureBudget: { count: 0 },
      onFailure: "hold",
      progressDeadlineMs: 600_000,
      onNewRevision: "supersede",
    });
    const written = `${withClusters}rollout:
  waves:
    - name: canary
      clusters: { matchLabels: { tier: canary } }
      maxConcurrency: 25%
      maxUnavailable: 2
      windows: { timeZone: Europe/Berlin, allow: [{ schedule: "0 9 * * 1-5", duration: 8h }] }
      after:
        soak: 10m
        approval: ops
        check: clusters.all(c, c.drifted == 0)
        metrics: [{ name: errors, address: "http://prometheus.monitoring:9090", query: "sum(rate(errors[5m]))", threshold: "<= 0.5", window: 2m }]
        jobs: [{ name: smoke, namespace: shop, spec: { template: { spec: { containers: [{ name: smoke, image: smoke }] } } } }]
    - { name: rest }
  failureBudget: 2%
  progressDeadline: 20m
  onNewRevision: queue
`;
    expect(specOf(fleet(written)).rollout).toMatchObject({
      waves: [
        {
          maxConcurrency: { percent: 25 },
          maxUnavailable: { count: 2 },
          windows: { allow: [{ timeZone: "Europe/Berlin", schedule: "0 9 * * 1-5", durationMs: 28_800_000 }] },
          after: {
            soakMs: 600_000,
            approval: "ops",
            check: "clusters.all(c, c.drifted == 0)",
            metrics: [{ name: "errors", threshold: { operator: "<=", value: 0.5 }, windowMs: 120_000 }],
            jobs: [{ name: "smoke", namespace: "shop", timeoutMs: 600_000 }],
          },
        },
        { name: "rest", clusters: {} },
      ],
      failureBudget: { percent: 2 },
      onFailure: "rollback",
      progressDeadlineMs: 1_200_000,
      onNewRevision: "queue",
    });
  });

  const bad: [string, string, string][] = [
    ["invalid YAML", "a: [b\n", "fleet.yaml:2:1: Flow sequence"],
    ["tabs", "a:\n\tb: 1\n", "indent with spaces"],
    ["an empty file", "# nothing\n", "the file holds no document"],
    ["two documents", `${fleet(withClusters)}---\na: 1\n`, "more than one document"],
    ["a list", "- a\n", "the file is a list; it takes a map"],
    [
      "a wrong apiVersion",
      fleet(withClusters, "apiVersion: flotilla.dev/v2\nkind: Fleet\nmetadata: { name: shop }\n"),
      "fleet.yaml:1:13: apiVersion is 'flotilla.dev/v2'; this hub reads flotilla.dev/v1; write apiVersion: flotilla.dev/v1",
    ],
    [
      "an unknown kind",
      fleet(withClusters, "apiVersion: flotilla.dev/v1\nkind: Flet\nmetadata: { name: shop }\n"),
      "fleet.yaml:2:7: kind is 'Flet'; it takes Fleet; did you mean 'Fleet'?",
    ],
    ["an unknown field", fleet(`${withClusters}bundels: []`), "fleet.yaml:8:3: unknown field 'bundels' in spec; did you mean 'bundles'?"],
    ["a missing field", fleet("clusters: {}"), "'bundles' is missing in spec"],
    ["no bundles", fleet("clusters: {}\nbundles: []"), "spec.bundles needs at least 1 entry"],
    ["an empty field", fleet("clusters: {}\nbundles:"), "spec.bundles is empty; it takes a list"],
    ["a bad name", fleet("clusters: {}\nbundles:\n  - name: Web_1\n"), "spec.bundles[0].name is 'Web_1', which is not a name (lower-case letters"],
    [
      "a boolean label",
      fleet(`clusters: { matchLabels: { shop: true } }\n${bundles}`),
      'fleet.yaml:5:36: spec.clusters.matchLabels.shop is true or false; it takes text; put it in quotes: "true"',
    ],
    ["a bad label key", fleet(`clusters: { matchLabels: { "a b": x } }\n${bundles}`), "'a b' cannot be a label's key"],
    ["a bad label value", fleet(`clusters: { matchLabels: { a: "-x" } }\n${bundles}`), "'-x' cannot be a label's value"],
    ["an operator without values", fleet(`clusters: { matchExpressions: [{ key: a, operator: In }] }\n${bundles}`), "operator In needs values"],
    [
      "an operator with values",
      fleet(`clusters: { matchExpressions: [{ key: a, operator: Exists, values: [b] }] }\n${bundles}`),
      "operator Exists takes no values",
    ],
    ["an unknown operator", fleet(`clusters: { matchExpressions: [{ key: a, operator: in, values: [b] }] }\n${bundles}`), "did you mean 'In'?"],
    ["a duplicate key", fleet(`${withClusters}clusters: {}`), "'clusters' is here twice"],
    ["a duplicate bundle", fleet("clusters: {}\nbundles:\n  - name: a\n  - name: a\n"), "fleet.yaml:8:13: bundle 'a' is here twice, first at line 7"],
    [
      "a cycle",
      fleet("clusters: {}\nbundles:\n  - { name: a, dependsOn: [b] }\n  - { name: b, dependsOn: [c] }\n  - { name: c, dependsOn: [a] }\n"),
      "bundles depend on each other: a -> b -> c -> a",
    ],
    ["a dependency on itself", fleet("clusters: {}\nbundles:\n  - { name: a, dependsOn: [a] }\n"), "bundle 'a' depends on itself"],
    [
      "an unknown dependency",
      fleet("clusters: {}\nbundles:\n  - { name: web, dependsOn: [platfrom] }\n  - name: platform\n"),
      "bundle 'platfrom' is not in this fleet; did you mean 'platform'?",
    ],
    ["a path that leads out", fleet("clusters: {}\nbundles:\n  - { name: a, path: ../b }\n"), "path '../b' leads out of the fleet's folder"],
    ["an absolute path", fleet("clusters: {}\nbundles:\n  - { name: a, path: /etc }\n"), "path '/etc' leads out"],
    ["a backslash", fleet("clusters: {}\nbundles:\n  - { name: a, path: 'a\\b' }\n"), "holds a backslash"],
    [
      "a bad duration",
      fleet("clusters: {}\nbundles:\n  - { name: a, health: { timeout: 5 minutes } }\n"),
      "is '5 minutes', which is not a duration such as 90s, 5m or 1h30m",
    ],
    ["a duration of a number", fleet("clusters: {}\nbundles:\n  - { name: a, health: { timeout: 300 } }\n"), "it takes text"],
    ["a duration of nothing", fleet("clusters: {}\nbundles:\n  - { name: a, health: { timeout: 0s } }\n"), "duration '0s' is nothing"],
    [
      "a wrong word",
      fleet("clusters: {}\nbundles:\n  - { name: a, drift: { mode: heel } }\n"),
      "spec.bundles[0].drift.mode is 'heel'; it takes heal, report, heal-unless-drifted; did you mean 'heal'?",
    ],
    [
      "a bad pointer",
      fleet("clusters: {}\nbundles:\n  - { name: a, drift: { ignore: [{ paths: [spec.replicas] }] } }\n"),
      "is not a JSON pointer such as /spec/replicas",
    ],
    [
      "an ignore rule that names no field",
      fleet("clusters: {}\nbundles:\n  - { name: a, drift: { ignore: [{ kind: Deployment }] } }\n"),
      "an ignore rule without paths, queries or managers ignores nothing",
    ],
    [
      "a query that cannot be read",
      fleet("clusters: {}\nbundles:\n  - { name: a, drift: { ignore: [{ queries: ['.spec | test(1)'] }] } }\n"),
      "a path begins with '.', at column 9 of the query",
    ],
    [
      "a shipped rule that there is not",
      fleet("clusters: {}\nbundles:\n  - { name: a, drift: { defaults: { off: [hpa-replica] } } }\n"),
      "did you mean 'hpa-replicas'?",
    ],
    [
      "a health check that is no CEL",
      fleet("clusters: {}\nbundles:\n  - { name: a, health: { checks: [{ kind: Kafka, current: status.ready && }] } }\n"),
      "current: Unexpected token",
    ],
    [
      "a health check over what there is not",
      fleet("clusters: {}\nbundles:\n  - { name: a, health: { checks: [{ kind: Kafka, failed: stauts.ready }] } }\n"),
      "failed: Unknown variable: stauts, at column 1 of the expression; it is CEL over apiVersion, kind, metadata, spec, status, data, object",
    ],
    [
      "a health check that gives no yes or no",
      fleet("clusters: {}\nbundles:\n  - { name: a, health: { checks: [{ kind: Kafka, current: size(status.x) }] } }\n"),
      "it must give true or false",
    ],
    [
      "a health check without an expression",
      fleet("clusters: {}\nbundles:\n  - { name: a, health: { checks: [{ kind: Kafka }] } }\n"),
      "checks nothing; write inProgress, failed, current",
    ],
    [
      "two health checks for one kind",
      fleet('clusters: {}\nbundles:\n  - { name: a, health: { checks: [{ kind: Kafka, current: "true" }, { kind: Kafka, current: "false" }] } }\n'),
      "Kafka has a health check already",
    ],
    [
      "a service account without its namespace",
      fleet("clusters: {}\nbundles:\n  - { name: a, serviceAccount: deployer }\n"),
      "is 'deployer', which is not a service account written as namespace/name",
    ],
    ["a bad budget", fleet("clusters: {}\nbundles:\n  - { name: a, prune: { budget: 200% } }\n"), "is '200%', which is not a percentage"],
    [
      "a budget of the wrong type",
      fleet("clusters: {}\nbundles:\n  - { name: a, prune: { budget: true } }\n"),
      "it takes a whole number or percentage such as 10%",
    ],
    [
      "a wave that takes all before the last",
      fleet(`${withClusters}rollout: { waves: [{ name: a }, { name: b }] }`),
      "wave 'a' takes every cluster that is left",
    ],
    ["a duplicate wave", fleet(`${withClusters}rollout: { waves: [{ name: a, clusters: { matchLabels: { x: y } } }, { name: a }] }`), "wave 'a' is here twice"],
    ["a wave nobody of which may be away", fleet(`${withClusters}rollout: { waves: [{ name: a, maxUnavailable: 0% }] }`), "maxUnavailable is 0"],
    [
      "a check that is not CEL",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { check: "clusterz.size() > 1" } }] }`),
      "check: Unknown variable: clusterz",
    ],
    [
      "a threshold that compares nothing",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { metrics: [{ name: m, address: "http://p", query: up, threshold: many }] } }] }`),
      "comparison with a number such as < 0.01",
    ],
    [
      "a metric at no address",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { metrics: [{ name: m, address: "p:9090", query: up, threshold: "> 0" }] } }] }`),
      "'p:9090' is not an address that can be asked",
    ],
    [
      "a metric's password",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { metrics: [{ name: m, address: "http://u:p@p", query: up, threshold: "> 0" }] } }] }`),
      "holds no user and no password",
    ],
    [
      "two metrics of one name",
      fleet(
        `${withClusters}rollout: { waves: [{ name: a, after: { metrics: [{ name: m, address: "http://p", query: up, threshold: "> 0" }, { name: m, address: "http://p", query: up, threshold: "> 0" }] } }] }`,
      ),
      "metric 'm' is here twice",
    ],
    [
      "a job that runs nothing",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { jobs: [{ name: j, namespace: n, spec: {} }] } }] }`),
      "the Job runs nothing",
    ],
    ["a window that closes nothing", fleet(`${withClusters}rollout: { waves: [{ name: a, windows: {} }] }`), "without a window"],
    ["a deadline of nothing", fleet(`${withClusters}rollout: { progressDeadline: 0s }`), "duration '0s' is nothing"],
    ["a wave that never ends", fleet(`${withClusters}rollout: { waves: [{ name: a, maxConcurrency: 0 }] }`), "maxConcurrency is 0"],
    [
      "YAML 1.1 where a boolean is wanted",
      fleet(`${withClusters}rollout: { waves: [{ name: a, after: { healthy: yes } }] }`),
      "write true or false: 'yes' is YAML 1.1",
    ],
    ["a merge key", fleet(`${withClusters}<<: { values: {} }`), "merge keys are YAML 1.1"],
    ["__proto__", fleet(`${withClusters}values: { __proto__: { a: 1 } }`), "'__proto__' cannot be a field"],
    ["an unknown alias", fleet(`${withClusters}values: *x`), "x"],
    ["a number that cannot be kept", fleet(`${withClusters}values: { id: 12345678901234567890 }`), "put it in quotes"],
    ["deep nesting", "[".repeat(30_000), "nested too deeply"],
    ["a large file", `# ${"x".repeat(600_000)}`, "larger than 512 KiB"],
  ];

  it.each(bad)("tells %s, where and what to do", (_what, text, message) => {
    const problems = problemsOf(text);
    expect(problems.join("\n")).toContain(message);
    expect(problems.every((problem) => problem.startsWith("fleet.yaml"))).toBe(true);
  });

  it("tells everything at once, in the file's order", () => {
    const problems = problemsOf(fleet("clusterz: {}\nbundles:\n  - { name: A, dependsOn: [z] }\n  - { path: ../x }\nrollout: { onFailure: no }\n"));
    expect(problems.map((problem) => problem.split(":")[1])).toEqual(["5", "7", "7", "8", "8", "9"]);
  });

  it("ends soon on a bomb of aliases", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 12; level += 1) lines.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(", ")}]`);
    const startedAt = performance.now();
    expect(problemsOf(fleet(`${withClusters}values:\n  ${lines.join("\n  ")}`)).join("\n")).toContain("more than 100000 values");
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });

  it("ends soon on many keys", () => {
    const keys = Array.from({ length: 35_000 }, (_, n) => ` k${n}: 1`).join("\n");
    // Were each key compared with all others, this would take minutes: the test's own deadline ends it.
    expect(problemsOf(fleet(`${withClusters}values:\n${keys}`))).toEqual([]);
  });

  it("warns of words that kubectl and Helm read in another way", () => {
    const parsed = parseFleet(fleet(`${withClusters}values: { enabled: yes, mode: 0644, quoted: "no" }`));
    expect(parsed.warnings.map(({ message }) => message)).toEqual([
      "spec.values.enabled: 'yes' is text here, not true or false",
      "spec.values.mode: '0644' is the decimal number 644 here, not octal",
    ]);
  });

  it("warns of an overlay that never applies, and not where all count", () => {
    const text = (combine: string): string =>
      fleet(`clusters: {}\nbundles:\n  - name: a\n    combine: ${combine}\n    overlays: [{ clusters: {} }, { clusters: { matchLabels: { a: b } } }]\n`);
    expect(parseFleet(text("first")).warnings).toEqual([
      expect.objectContaining({ code: "unreachable-overlay", message: expect.stringContaining("overlay 2 never applies") as string }),
    ]);
    expect(parseFleet(text("all")).warnings).toEqual([]);
  });

  it("looks folders up in the tree, below the fleet's folder", () => {
    const tree = treeOf("deploy/fleet.yaml", "deploy/apps/web/a.yaml", "deploy/file.yaml", "deploy/link/x");
    const text = fleet(
      "clusters: {}\nbundles:\n  - { name: a, path: apps/wbe }\n  - { name: b, path: file.yaml }\n  - { name: c, path: apps/web, overlays: [{ clusters: {}, path: overlays/prod }] }\n  - { name: d, path: . }\n",
    );
    const problems = problemsOf(text, { tree, root: "deploy", file: "deploy/fleet.yaml" });
    expect(problems).toEqual([
      "deploy/fleet.yaml:7:24: path 'apps/wbe' is not in the repository; did you mean 'apps/web'?",
      "deploy/fleet.yaml:8:24: path 'file.yaml' is a file; a bundle is a folder; name the folder that holds it",
      expect.stringContaining("path 'overlays/prod' is not in the repository"),
    ]);
    expect(problemsOf(fleet("clusters: {}\nbundles: [{ name: a, path: link }]"), { tree, root: "" })).toEqual([expect.stringContaining("symlink")]);
  });

  it("takes the hub's name and selector where the file says less, and says so", () => {
    const parsed = parseFleet(fleet(bundles), { fleetName: "shop-staging", selector: { matchLabels: { env: "staging" } } });
    expect(parsed.ok && parsed.spec).toMatchObject({ name: "shop-staging", clusters: { matchLabels: { env: "staging" } } });
    expect(parsed.warnings.map(({ code }) => code)).toEqual(["fleet-name-differs"]);
    expect(parseFleet(fleet(bundles)).warnings.map(({ code }) => code)).toEqual(["no-clusters"]);
  });

  it("never throws, whatever is written", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string({ unit: fc.constantFrom("a", ":", " ", "\n", "-", "[", "]", "{", "}", "&", "*", "!", "|", ">", '"', "'", "#", "?", ",", "%", "\t") }),
          fc.jsonValue().map((value) => JSON.stringify({ apiVersion: "flotilla.dev/v1", kind: "Fleet", metadata: value, spec: value })),
        ),
        (text) => {
          const parsed = parseFleet(text);
          expect(parsed.ok || parsed.problems.length > 0).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });

  it("tells every cycle, and only cycles", () => {
    const graph = fc.array(fc.uniqueArray(fc.nat(5), { maxLength: 3 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(graph, (edges) => {
        const text = fleet(
          `clusters: {}\nbundles:\n${edges
            .map(
              (needed, n) =>
                `  - { name: b${n}, dependsOn: [${needed
                  .filter((other) => other !== n)
                  .map((other) => `b${other}`)
                  .join(", ")}] }`,
            )
            .join("\n")}`,
        );
        const told = problemsOf(text).some((problem) => problem.includes("depend on each other"));
        expect(told).toBe(hasCycle(edges));
      }),
    );
  });
});

/** Kahn: what cannot be taken away one by one is a cycle. */
function hasCycle(edges: readonly (readonly number[])[]): boolean {
  const left = new Set(edges.keys());
  for (let taken = true; taken;) {
    taken = false;
    for (const node of left) {
      if ((edges[node] ?? []).every((needed) => needed === node || !left.has(needed))) {
        left.delete(node);
        taken = true;
      }
    }
  }
  return left.size > 0;
}

describe("fleetWithoutFile", () => {
  it("is one bundle over the fleet's folder", () => {
    expect(fleetWithoutFile("shop", { matchLabels: { a: "b" } })).toMatchObject({
      name: "shop",
      clusters: { matchLabels: { a: "b" } },
      bundles: [{ name: "shop", path: "" }],
    });
    expect(fleetWithoutFile("shop", null).clusters).toEqual({ matchExpressions: [{ key: "flotilla.dev/cluster", operator: "DoesNotExist" }] });
  });
});

describe("defaults for objects that say nothing", () => {
  it("are what fleet.yaml says, and absent where it says nothing", () => {
    const [a, b] = specOf(
      fleet("clusters: {}\nbundles:\n  - name: a\n    prune: { mode: confirm }\n    apply: { ssa: merge, force: recreate, adopt: if-no-diff }\n  - name: b"),
    ).bundles;
    expect(a?.policy.defaults).toEqual({ prune: "confirm", ssa: "merge", force: "recreate", adopt: "if-no-diff" });
    expect(b?.policy).not.toHaveProperty("defaults");
  });

  it.each([
    ["prune: { mode: off }", "'off'", "enabled, disabled, confirm"],
    ["apply: { ssa: ignore }", "'ignore'", "override, merge"],
    ["apply: { force: always }", "'always'", "never"],
    ["apply: { addopt: never }", "addopt", "adopt"],
  ])("refuse %s, and name the words that there are", (line, ...texts) => {
    const problems = problemsOf(fleet(`clusters: {}\nbundles:\n  - name: a\n    ${line}`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^fleet\.yaml:8:/);
    for (const text of texts) expect(problems[0]).toContain(text);
  });
});

describe("removal", () => {
  const removalOf = (text: string) => specOf(fleet(`clusters: {}\n${text}\n${bundles}`)).removal;

  it("says what becomes of clusters that leave, an hour later and without deleting unless it is said", () => {
    expect(removalOf("removal: { policy: delete, grace: 10m }")).toEqual({ policy: "delete", graceMs: 600_000 });
    expect(removalOf("removal: { grace: 1h30m }")).toEqual({ policy: "orphan", graceMs: 5_400_000 });
    expect(removalOf("removal: {}")).toEqual({ policy: "orphan", graceMs: 3_600_000 });
    expect(specOf(fleet(withClusters)).removal).toBeUndefined();
  });

  it.each([
    ["removal: { policy: keep }", "orphan, delete"],
    ["removal: { grace: soon }", "duration"],
    ["removal: { grace: 0s }", "is nothing"],
    ["removal: { grace: 200h }", "longer than a week"],
    ["removal: { gracePeriod: 1h }", "grace"],
  ])("refuses %s", (line, text) => {
    const problems = problemsOf(fleet(`clusters: {}\n${line}\n${bundles}`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(text);
    expect(problems[0]).toMatch(/^fleet\.yaml:6:/);
  });
});

describe("docs/schema/fleet.v1.json", () => {
  it("is what the hub checks and serves", () => {
    const file = new URL("../../../docs/schema/fleet.v1.json", import.meta.url);
    // To write it anew: UPDATE_SCHEMA=1 npx vitest run --project unit hub/src/domain/parse-fleet.test.ts
    if (process.env.UPDATE_SCHEMA === "1") writeFileSync(file, `${JSON.stringify(fleetJsonSchema(), null, 2)}\n`);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(fleetJsonSchema());
  });
});
