import { describe, expect, it } from "vitest";
import { TypedReference } from "../domain/substitute.ts";
import { aliasesPerDocumentMax, manifestBytesMax } from "../limits.ts";
import { readManifests } from "./kube-yaml.ts";

const read = (text: string | Uint8Array, file = "a.yaml") => readManifests(file, text, { references: true });
const values = (text: string) => read(text).manifests.map(({ content }) => content);

describe("readManifests", () => {
  it("reads scalars as YAML 1.1 does", () => {
    expect(values("a: yes\nb: off\nc: 0777\nd: 0o17\ne: 0x1F\nf: 1_000\ng: ~\nh: 2001-01-01\ni: 1e3\nj: '1'\nk: 08\nl: y\nm: 1:30\n1: x\ntrue: z\n")).toEqual([
      { a: true, b: false, c: 511, d: 15, e: 31, f: 1000, g: null, h: "2001-01-01", i: 1000, j: "1", k: 8, l: true, m: "1:30", 1: "x", true: "z" },
    ]);
  });

  it("unfolds merge keys and anchors", () => {
    expect(values("base: &b {x: 1}\nuse: {<<: *b, z: 2}\nagain: *b\n")).toEqual([{ base: { x: 1 }, use: { x: 1, z: 2 }, again: { x: 1 } }]);
  });

  it("skips empty documents and flattens lists", () => {
    const text = "---\n# nothing\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: A}\n- {kind: B}\n---\nkind: C\n---\n";
    expect(values(text)).toEqual([{ kind: "A" }, { kind: "B" }, { kind: "C" }]);
  });

  it("gives items of a typed list what the list says", () => {
    expect(values("kind: ConfigMapList\napiVersion: v1\nitems: [{metadata: {name: a}}]")).toEqual([
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } },
    ]);
  });

  it("reads JSON, also with tabs", () => {
    expect(read('{\n\t"kind": "A",\n\t"n": [1, true]\n}', "a.json").manifests[0]?.content).toEqual({ kind: "A", n: [1, true] });
  });

  it("says where each document and each member stands", () => {
    const [, second] = read("kind: A\n---\nkind: B\nspec:\n  list:\n    - name: x\n      value: 1\n").manifests;
    expect(second?.place).toEqual({ file: "a.yaml", line: 3, column: 1 });
    expect(second?.placeOf(["spec", "list", 0, "value"])).toEqual({ file: "a.yaml", line: 7, column: 7 });
    expect(second?.placeOf(["spec", "absent", "deeper"])).toEqual({ file: "a.yaml", line: 4, column: 1 });
  });

  it("says file, line and column of a syntax error", () => {
    expect(read("kind: A\nmetadata: { name: a\n").problems).toEqual([expect.objectContaining({ code: "invalid-yaml", file: "a.yaml", line: 3 })]);
  });

  it("tells a Helm template where a manifest should be", () => {
    expect(read("kind: A\nmetadata: {{ .Values.x }}\nname: x\n").problems[0]?.hint).toMatch(/Helm template/);
  });

  it("refuses a key twice, and still reads the other documents", () => {
    const { manifests, problems } = read("kind: A\ndata:\n  a: 1\n  a: 2\n---\nkind: B\n");
    expect(problems).toEqual([expect.objectContaining({ code: "duplicate-key", line: 4, column: 3, hint: "keep one of them" })]);
    expect(manifests).toHaveLength(1);
  });

  it("refuses numbers that would lose digits, and infinities", () => {
    expect(read("a: 9007199254740993").problems[0]?.message).toMatch(/9007199254740993/);
    expect(read("a: .inf").problems[0]?.message).toMatch(/no number/);
    expect(read("a: 1e999").problems[0]?.message).toMatch(/no number/);
    expect(values("a: 12345678901234567890123")).toEqual([{ a: 1.2345678901234568e22 }]);
  });

  it("remembers a bare reference, and takes a quoted one for text", () => {
    expect(values('a: ${n}\nb: "${n}"\nc: x${n}\n')).toEqual([{ a: new TypedReference("${n}"), b: "${n}", c: "x${n}" }]);
    expect(readManifests("a.yaml", "a: ${n}", { references: false }).manifests[0]?.content).toEqual({ a: "${n}" });
  });

  it("explains a bare reference inside braces", () => {
    expect(read("a: {b: ${n}}").problems[0]?.hint).toMatch(/quotes/);
  });

  it.each([
    [
      "a document that unfolds for ever",
      `a: &a [1,1,1,1,1,1,1,1,1,1]\n${[..."bcdefgh"].map((name, index) => `${name}: &${name} [${Array(10).fill(`*${"abcdefgh"[index]}`).join(",")}]`).join("\n")}`,
      /unfolds/,
    ],
    ["a document that holds itself", "a: &a [*a]", /unfolds|unidentified|alias/],
    [
      "too many aliases",
      `a: &a 1\nb: [${Array(aliasesPerDocumentMax + 1)
        .fill("*a")
        .join(",")}]`,
      /alias/,
    ],
    ["nesting without end", `a: ${"[".repeat(20_000)}`, /depth|deep|nest/i],
    [
      "nesting built of aliases",
      `a0: &a0 {x: 1}\n${Array.from({ length: 200 }, (_, index) => `a${index + 1}: &a${index + 1} {x: *a${index}}`).join("\n")}`,
      /deeper/,
    ],
    ["a prototype", '{"__proto__": {"polluted": true}}', /__proto__/],
    ["text that is not UTF-8", Uint8Array.from([0x61, 0x3a, 0x20, 0xff, 0xfe]), /UTF-8/],
    ["a document that is a list", "- a\n- b\n", /list/],
    ["a document that is text", "hello", /string/],
  ])("refuses %s", (_name, text, says) => {
    const { manifests, problems } = read(text);
    expect(manifests).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(says);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it("refuses a file beyond the limit before parsing it", () => {
    expect(read(new Uint8Array(manifestBytesMax + 1)).problems[0]?.code).toBe("file-too-large");
  });

  it("never throws, whatever the bytes", () => {
    const pieces = [
      "a: ",
      "- ",
      "{",
      "}",
      "[",
      "]",
      "&x ",
      "*x",
      "\n",
      "  ",
      "|",
      ">",
      "'",
      '"',
      "---\n",
      "!!binary ",
      "<<: ",
      "?",
      "${x}",
      "\t",
      "#",
      "0x",
      ".inf",
      "\u0000",
      "é",
    ];
    let seed = 7;
    for (let round = 0; round < 3_000; round += 1) {
      let text = "";
      for (let length = 0; length < 12; length += 1) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        text += pieces[seed % pieces.length];
      }
      expect(() => read(text), JSON.stringify(text)).not.toThrow();
    }
  });
});
