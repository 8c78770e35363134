import { describe, expect, it } from "vitest";
import { addPatch, editManifest, objectsInFile } from "./edit-manifest.ts";

const source = `# The shop.
apiVersion: v1
kind: ConfigMap # settings
metadata: { name: settings }
data:
  colour: "red"   # as marketing says
  motd: |
    hello
    world
  # how many
  limit: ten
---
# The web.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3 # never fewer
  template:
    spec:
      containers:
      - name: side
        image: side:1
      - name: web
        image: web:1 # pinned
        args: [a, b]
        ports:
        - containerPort: 80
`;
const at = (document: number) => ({ document, item: [] });
const field = (...members: string[]) => ({ path: "", members });
const edit = (document: number, members: string[], value: unknown, text = source) => editManifest(text, at(document), field(...members), value as never, true);
const image = ["f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}', "f:image"];

/** Lines that are not in the other text. */
function changed(outcome: ReturnType<typeof edit>, before = source): [string[], string[]] {
  if (outcome.kind !== "edited") throw new Error(outcome.kind);
  const [old, fresh] = [before.split("\n"), outcome.source.split("\n")];
  return [old.filter((line) => !fresh.includes(line)), fresh.filter((line) => !old.includes(line))];
}

describe("editing a manifest in place", () => {
  it.each<[string, number, string[], unknown, string[], string[]]>([
    ["a number", 1, ["f:spec", "f:replicas"], 1, ["  replicas: 3 # never fewer"], ["  replicas: 1 # never fewer"]],
    ["a quoted string", 0, ["f:data", "f:colour"], "blue", ['  colour: "red"   # as marketing says'], ['  colour: "blue"   # as marketing says']],
    ["a string that would be taken for something else", 0, ["f:data", "f:limit"], "on", ["  limit: ten"], ['  limit: "on"']],
    ["a string that looks octal", 0, ["f:data", "f:limit"], "0644", ["  limit: ten"], ['  limit: "0644"']],
    ["an item of a list by its key", 1, image, "web:2", ["        image: web:1 # pinned"], ["        image: web:2 # pinned"]],
    ["a block", 0, ["f:data", "f:motd"], "hello\nthere\n", ["    world"], ["    there"]],
    ["a name in a flow map", 0, ["f:metadata", "f:name"], "a, b", ["metadata: { name: settings }"], ['metadata: { name: "a, b" }']],
  ])("changes %s and no other line", (_what, document, members, value, gone, come) => {
    expect(changed(edit(document, members, value))).toEqual([gone, come]);
  });

  it("keeps a block's chomping, and quotes what a block cannot hold", () => {
    expect(changed(edit(0, ["f:data", "f:motd"], "one line"))).toEqual([
      ["  motd: |", "    hello", "    world"],
      ["  motd: |-", "    one line"],
    ]);
    expect(changed(edit(0, ["f:data", "f:motd"], " odd\n\n"))[1]).toEqual(['  motd: " odd\\n\\n"']);
  });

  it("takes a key away with its lines, and its comment", () => {
    expect(changed(edit(0, ["f:data", "f:colour"], undefined))).toEqual([['  colour: "red"   # as marketing says'], []]);
    expect(changed(edit(0, ["f:data", "f:motd"], undefined))[1]).toEqual([]);
  });

  it("lays only the one document out anew where a list or a map changes, and keeps the comments", () => {
    const outcome = edit(1, [...image.slice(0, -1), "f:args"], ["a", "c"]);
    const [, come] = changed(outcome);
    expect(come.map((line) => line.trim())).toEqual(["args:", "- a", "- c"]);
    expect(outcome.kind === "edited" && outcome.source.startsWith(source.slice(0, source.indexOf("---\n") + 4))).toBe(true);
    expect(outcome.kind === "edited" && outcome.source).toContain("# never fewer");
  });

  it("adds a key that is not there, in the map where it belongs", () => {
    expect(changed(edit(0, ["f:data", "f:extra"], "yes"))[1]).toContain('  extra: "yes"');
  });

  it("finds an item though its file leaves a defaulted key out, and not when two could be meant", () => {
    const port = [...image.slice(0, -1), "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:containerPort"];
    expect(changed(edit(1, port, 8080))[1]).toEqual(["        - containerPort: 8080"]);
    const two = source.replace("- containerPort: 80", "- containerPort: 80\n        - containerPort: 80\n          name: b");
    expect(edit(1, port, 8080, two)).toEqual({ kind: "not there" });
  });

  it("refuses what comes from a value, and what stands behind an alias", () => {
    expect(edit(1, ["f:spec", "f:replicas"], 1, source.replace("replicas: 3", "replicas: ${replicas}"))).toEqual({ kind: "reference", text: "${replicas}" });
    const aliased = "a: &a { x: 1 }\nb: *a\nc: { <<: *a }\n";
    expect(edit(0, ["f:b", "f:x"], 2, aliased)).toEqual({ kind: "not there" });
    // A key of its own goes before one that is merged in.
    expect(edit(0, ["f:c", "f:x"], 2, aliased)).toMatchObject({ source: expect.stringContaining("c: { <<: *a, x: 2 }") });
  });

  it("edits items of a List, JSON, and by a pointer", () => {
    const list = "kind: List\nitems:\n- kind: ConfigMap\n  data: { a: x } # one\n- kind: ConfigMap\n  data: { a: y }\n";
    expect(objectsInFile(list).map(({ place }) => place.item)).toEqual([["items", 0], ["items", 1]]); // prettier-ignore
    const outcome = editManifest(list, { document: 0, item: ["items", 1] }, { path: "/data/a", members: [] }, "z", true);
    expect(outcome).toEqual({ kind: "edited", source: list.replace("{ a: y }", "{ a: z }") });
    expect(edit(0, ["f:data", "f:a"], "no", '{"data": {"a": "x"}}')).toEqual({ kind: "edited", source: '{"data": {"a": "no"}}' });
  });
});

describe("adding a patch to a kustomization", () => {
  const target = { group: "apps", kind: "Deployment", name: "web" };
  const operation = { op: "replace", path: "/spec/replicas", value: 1 };

  it("comes after everything, and leaves the rest as it is", () => {
    const before = "# base\nresources:\n- ../base # ours\n";
    const after = addPatch(before, target, [operation]);
    expect(after.startsWith(before)).toBe(true);
    expect(after.slice(before.length)).toBe(
      "patches:\n- target:\n    group: apps\n    kind: Deployment\n    name: web\n  patch: |\n    - op: replace\n      path: /spec/replicas\n      value: 1\n",
    );
  });

  it("comes last among patches, and extends the patch of the same object", () => {
    const before = "resources:\n  - ../base\npatches:\n  - path: other.yaml # first\n";
    const once = addPatch(before, target, [operation]);
    expect(once).toContain("- path: other.yaml # first\n  - target:");
    const twice = addPatch(once, target, [
      { ...operation, value: 2 },
      { op: "remove", path: "/spec/paused" },
    ]);
    expect(twice.match(/target:/g)).toHaveLength(1);
    expect(twice).toContain("value: 2");
    expect(twice).not.toContain("value: 1");
    expect(twice).toContain("path: /spec/paused");
  });
});
