import { describe, expect, it } from "vitest";
import { bundleInputs, inputsKey, overlaysFor, pathFor, type BundleUses } from "./bundle-inputs.ts";
import type { BundleSpec, FleetSpec } from "./fleet-spec.ts";
import { mergeValues } from "./merge-values.ts";

const policy = { drift: "heal", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 5, percent: 10 } } as const;
const overlay = (env: string, more: object = {}) => ({ clusters: { matchLabels: { env } }, values: {}, patches: [], ...more });
const bundle = (more: Partial<BundleSpec> = {}): BundleSpec => ({
  name: "app",
  path: "app",
  dependsOn: [],
  values: {},
  overlays: [],
  combine: "first",
  policy,
  ...more,
});
const fleet = (values = {}): FleetSpec => ({ name: "shop", clusters: {}, values, bundles: [] });
const plain = (...names: string[]): BundleUses => ({ kind: "plain", names });
const helm = (...names: string[]): BundleUses => ({ kind: "helm", names });
const prod = { name: "berlin-1", labels: { env: "prod", region: "eu" } };
const dev = { name: "laptop", labels: { env: "dev" } };

describe("bundleInputs", () => {
  it("keeps only what the manifests name, so that clusters alike share a render", () => {
    const spec = fleet({ domain: "example.com", unused: prod.name });
    const uses = plain("domain");
    expect(bundleInputs(spec, bundle(), prod, "app", uses).names).toEqual({ domain: "example.com" });
    expect(inputsKey(bundleInputs(spec, bundle(), prod, "app", uses))).toBe(inputsKey(bundleInputs(spec, bundle(), dev, "app", uses)));
    expect(inputsKey(bundleInputs(spec, bundle(), prod, "app", plain("cluster.name")))).not.toBe(
      inputsKey(bundleInputs(spec, bundle(), dev, "app", plain("cluster.name"))),
    );
  });

  it("does not depend on the order in which values are written", () => {
    const one = bundleInputs(fleet({ a: 1, b: { c: 2, d: 3 } }), bundle(), prod, "app", helm());
    const two = bundleInputs(fleet({ b: { d: 3, c: 2 }, a: 1 }), bundle(), prod, "app", helm());
    expect(inputsKey(one)).toBe(inputsKey(two));
  });

  it("lays bundle over fleet and overlay over bundle", () => {
    const spec = fleet({ image: { tag: "1", name: "web" }, list: [1] });
    const app = bundle({ values: { image: { tag: "2" } }, overlays: [overlay("prod", { values: { image: { tag: "3" }, list: [2, 3] } })] });
    expect(bundleInputs(spec, app, prod, "app", helm()).values).toEqual({ image: { tag: "3", name: "web" }, list: [2, 3] });
    expect(bundleInputs(spec, app, dev, "app", helm()).values).toEqual({ image: { tag: "2", name: "web" }, list: [1] });
    expect(bundleInputs(spec, app, prod, "app", plain("image.tag")).names).toEqual({ "image.tag": "3" });
  });

  it("replaces the cluster's names in values, and in nothing else of them", () => {
    const spec = fleet({ host: "shop.${cluster.name}.${region}", raw: "${HOME} $${x}" });
    expect(bundleInputs(spec, bundle(), prod, "app", helm()).values).toEqual({ host: "shop.berlin-1.${region}", raw: "${HOME} $${x}" });
  });

  it("says what values ask of a cluster that has it not", () => {
    const spec = fleet({ zone: "${cluster.labels.region}", other: "${cluster.labels.region:=none}" });
    expect(bundleInputs(spec, bundle(), prod, "app", plain("zone")).missing).toEqual([]);
    expect(bundleInputs(spec, bundle(), dev, "app", plain("zone")).missing).toEqual(["cluster.labels.region"]);
    expect(bundleInputs(spec, bundle(), dev, "app", plain("other"))).toMatchObject({ names: { other: "none" }, missing: [] });
  });

  it("gives a chart what it asks of the cluster and nothing else", () => {
    expect(bundleInputs(fleet(), bundle(), prod, "app", helm()).values).toEqual({});
    expect(bundleInputs(fleet(), bundle(), prod, "app", helm("cluster.labels.region")).values).toEqual({
      global: { flotilla: { cluster: { labels: { region: "eu" } } } },
    });
    expect(bundleInputs(fleet(), bundle(), prod, "app", helm("cluster.labels", "cluster.name")).values).toEqual({
      global: { flotilla: { cluster: { name: "berlin-1", labels: prod.labels } } },
    });
  });

  it("substitutes strictly only where somebody gave values", () => {
    expect(bundleInputs(fleet(), bundle(), prod, "app", plain()).substitution).toBe("cluster");
    expect(bundleInputs(fleet({ a: 1 }), bundle(), prod, "app", plain()).substitution).toBe("all");
    expect(bundleInputs(fleet({ a: 1 }), bundle({ substitute: false }), prod, "app", plain()).substitution).toBe("off");
  });

  it("takes names in patches into account", () => {
    const app = bundle({ overlays: [overlay("prod", { patches: [{ patch: "image: ${registry}/web" }] })] });
    expect(bundleInputs(fleet({ registry: "r.example.com" }), app, prod, "app", plain()).names).toEqual({ registry: "r.example.com" });
  });
});

describe("overlaysFor", () => {
  const app = bundle({ overlays: [overlay("prod", { path: "prod" }), { clusters: {}, values: {}, patches: [], path: "all" }] });

  it("takes the first match, or all of them", () => {
    expect(overlaysFor(app, prod).map(({ path }) => path)).toEqual(["prod"]);
    expect(overlaysFor({ ...app, combine: "all" }, prod).map(({ path }) => path)).toEqual(["prod", "all"]);
  });

  it("leads to the last path that is named", () => {
    expect(pathFor(app, prod)).toBe("prod");
    expect(pathFor(app, dev)).toBe("all");
    expect(pathFor({ ...app, combine: "all" }, prod)).toBe("all");
    expect(pathFor(bundle({ overlays: [overlay("prod")] }), prod)).toBe("app");
  });
});

describe("mergeValues", () => {
  it("keeps null, which takes a chart's default away", () => {
    expect(mergeValues({ a: { b: 1 } }, { a: null })).toEqual({ a: null });
  });

  it("never reaches a prototype", () => {
    mergeValues({}, JSON.parse('{"__proto__": {"polluted": true}}') as never);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});
