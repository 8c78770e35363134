import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namesIn, substitute, TypedReference, type NamedValues, type Template } from "./substitute.ts";

const run = (template: Template, values: NamedValues = {}, strict = true) => substitute(template, values, { strict });
const typed = (text: string) => new TypedReference(text);

describe("substitute", () => {
  it("replaces names inside text", () => {
    expect(run({ host: "web.${domain}", all: "${a.b}-${a.b}" }, { domain: "example.com", "a.b": 5 }).object).toEqual({ host: "web.example.com", all: "5-5" });
  });

  it("gives a bare reference the value with its type", () => {
    const values = { n: 3, on: true, tolerations: [{ key: "a" }], none: null };
    expect(run({ n: typed("${n}"), on: typed("${on}"), list: typed("${tolerations}"), none: typed("${none}") }, values).object).toEqual({
      n: 3,
      on: true,
      list: [{ key: "a" }],
      none: null,
    });
  });

  it("keeps text where Kubernetes wants text", () => {
    const values = { n: 3, on: true };
    const object = {
      metadata: { labels: { a: typed("${n}") }, annotations: { b: typed("${on}") } },
      data: { c: typed("${n}") },
      spec: { containers: [{ args: [typed("${n}")], env: [{ name: "x", value: typed("${n}") }] }], replicas: typed("${n}") },
    };
    expect(run(object, values).object).toEqual({
      metadata: { labels: { a: "3" }, annotations: { b: "true" } },
      data: { c: "3" },
      spec: { containers: [{ args: ["3"], env: [{ name: "x", value: "3" }] }], replicas: 3 },
    });
  });

  it("takes the default when there is no value", () => {
    expect(run({ a: "${x:=1}${y:-two}", b: typed("${z:=3}") }, { x: 9 }).object).toEqual({ a: "9two", b: "3" });
  });

  it("turns $${ into ${ and leaves what is no name", () => {
    expect(run("$${a} ${1} ${b%%x} $c ${} ${ d }").object).toBe("${a} ${1} ${b%%x} $c ${} ${ d }");
  });

  it("reads labels with dots and slashes", () => {
    expect(run("${cluster.labels.topology.kubernetes.io/region}", { "cluster.labels.topology.kubernetes.io/region": "eu" }).object).toBe("eu");
  });

  it("tells unknown names with their path", () => {
    expect(run({ spec: { host: "x ${doamin}" } }).bad).toEqual([{ name: "doamin", path: ["spec", "host"], why: "unknown" }]);
  });

  it("leaves unknown names when nobody gave values, but not the cluster's", () => {
    expect(run("${datasource} ${cluster.labels.env}", {}, false)).toEqual({
      object: "${datasource} ${cluster.labels.env}",
      bad: [expect.objectContaining({ name: "cluster.labels.env" })],
    });
  });

  it("leaves defaults and escapes alone when nobody gave values", () => {
    expect(run("${HOME:-/root} $${x} ${x:=1} $${cluster.name} ${cluster.labels.env:=dev}", {}, false)).toEqual({
      object: "${HOME:-/root} $${x} ${x:=1} ${cluster.name} dev",
      bad: [],
    });
  });

  it("refuses a map inside text", () => {
    expect(run("a ${m}", { m: { a: 1 } }).bad).toEqual([expect.objectContaining({ name: "m", why: "not a scalar" })]);
  });

  it("never looks at what is inherited", () => {
    expect(run("${constructor} ${toString}").bad.map(({ name }) => name)).toEqual(["constructor", "toString"]);
  });

  it("never reads a value for references again, and never changes a document's shape", () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(run({ a: "<${v}>", b: typed("${v}") }, { v: value })).toEqual({ object: { a: `<${value}>`, b: value }, bad: [] });
      }),
    );
  });

  it("finds every name once", () => {
    expect(namesIn("${b} ${a.c:=1} $${no} ${b} ${1}")).toEqual(["a.c", "b"]);
  });
});
