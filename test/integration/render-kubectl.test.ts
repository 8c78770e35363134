import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { canonicalJson } from "@flotilla/proto/digest";
import { findTool } from "@flotilla/hub/embedded/tools";
import { readManifests } from "@flotilla/hub/render/kube-yaml";
import { withScratchFolder } from "@flotilla/hub/render/scratch-folder";
import { expect, it } from "vitest";
import { publishedTrees as realWorld } from "../harness/published-trees.ts";
import { describeWith } from "../harness/tools.ts";

/** What kubectl makes of a file, without a server: `patch --local` with an empty patch prints every object as read. */
async function kubectl(file: string): Promise<unknown[]> {
  const args = ["patch", "--local", "-f", file, "--type", "merge", "-p", "{}", "-o", "json"];
  const { stdout } = await promisify(execFile)(await findTool("kubectl"), args, { env: { HOME: "/nonexistent" }, maxBuffer: 64 * 1024 ** 2 });
  return stdout
    .split(/^(?=\{$)/m)
    .filter((text) => text.trim() !== "")
    .map((text) => JSON.parse(text) as unknown);
}

const kubectlReads = async (text: string) =>
  withScratchFolder(async (scratch) => {
    await scratch.write(new Map([["a.yaml", text]]));
    return kubectl(join(scratch.path, "a.yaml"));
  });

const weRead = (text: string) => readManifests("a.yaml", text, { references: false });

const scalars = [
  ..."y n Y N yes no Yes NO on off On OFF true false TRUE False ~ null Null NULL".split(" "),
  ..."0 -0 +0 00 07 08 0777 -0777 0o17 0O17 0x1F 0XFF 0b101 -0b1 1_000 1__0 _1 1_ 0_7 +12 -12 12345678901 9007199254740991".split(" "),
  ..."1. .5 -.5 +.5 1.5 1e3 1E3 1e+3 1e-3 -1.5e3 1.e3 .e3 1e 1.2.3 1_0.5 0.0 -0.0 1e21 123456789012345678901234".split(" "),
  ..."2001-01-01 2001-12-14t21:59:43.10-05:00 12:30 1:30:45 190:20:30 1.0.0 v1 0xZZ 0b2 0o8 - + . .. -a a-b a:b http://x/y a#b '' ' ' \"\" '1' \"yes\"".split(
    " ",
  ),
  "a # comment",
  "!!str 1",
  "!!int '1'",
  "!!float 1",
  "!!bool 'true'",
  "!!binary aGVsbG8=",
  "|\n    two\n    lines\n",
  ">-\n    folded\n    text\n",
  '"tab\\tand \\u00e9"',
  "{a: 1, b: [x, y]}",
  "[1, yes, ~]",
  "{1: a, true: b, 0x10: c, 1.5: d}",
];

await describeWith(["kubectl"], "manifests are read as kubectl reads them", () => {
  it("scalar by scalar", async () => {
    const differences: unknown[] = [];
    const text = (scalar: string) => `apiVersion: example.com/v1\nkind: Odd\nmetadata: {name: a}\nspec:\n  v: ${scalar}\n`;
    await Promise.all(
      scalars.map(async (scalar) => {
        const theirs = await kubectlReads(text(scalar)).catch(() => "refused");
        const { manifests, problems } = weRead(text(scalar));
        const ours = problems.length > 0 ? "refused" : manifests.map(({ content }) => content);
        if (canonicalJson(ours) !== canonicalJson(theirs)) differences.push({ scalar, theirs, ours });
      }),
    );
    expect(differences).toEqual([]);
  });

  it.each([
    [
      "several documents, empty ones and comments",
      "---\n# a\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n",
    ],
    [
      "a List",
      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n",
    ],
    ["anchors and merge keys", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: &x {a: '1', b: '2'}\ndata: {<<: *x, b: '3'}\n"],
    ["JSON", '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "\\u00e9\\n"}}'],
    ["keys that are no text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {1: a, 1.0e3: b, yes: c, 0x1f: d}\n"],
    ["Windows line ends", "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\ndata:\r\n  a: |\r\n    one\r\n    two\r\n"],
    ["a byte order mark", "\uFEFFapiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"],
  ])("with %s", async (_name, text) => {
    const { manifests, problems } = weRead(text);
    expect(problems).toEqual([]);
    expect(manifests.map(({ content }) => content)).toEqual(await kubectlReads(text));
  });

  it.runIf(existsSync(realWorld))("in published manifests, every object of kube-prometheus", async () => {
    const folder = join(realWorld, "kube-prometheus/manifests");
    let count = 0;
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".yaml"))) {
      const { manifests, problems } = readManifests(name, readFileSync(join(folder, name)), { references: false });
      expect(problems).toEqual([]);
      const theirs = await kubectl(join(folder, name));
      expect(
        manifests.map(({ content }) => canonicalJson(content)),
        name,
      ).toEqual(theirs.map((object) => canonicalJson(object)));
      count += theirs.length;
    }
    expect(count).toBe(131);
  });
});
