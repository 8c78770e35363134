import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

/**
 * Where a program's CPU time went, as text: by function, by file and by who called whom.
 * `node test/bench/read-profile.ts FILE.cpuprofile [--from PART] [--to PART] [--top N]`; from and to, 0 to 1, cut out a part of the run.
 */

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly endTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { from: { type: "string", default: "0" }, to: { type: "string", default: "1" }, top: { type: "string", default: "35" } },
});
const profile = JSON.parse(await readFile(positionals[0] ?? "", "utf8")) as Profile;
const byId = new Map(profile.nodes.map((node) => [node.id, node]));
const parents = new Map(profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)));
const length = profile.endTime - profile.startTime;
const [from, to] = [Number(values.from) * length, Number(values.to) * length];
const [self, whole, files] = [new Map<string, number>(), new Map<string, number>(), new Map<string, number>()];
let [at, busy] = [0, 0];

for (const [index, id] of profile.samples.entries()) {
  const delta = profile.timeDeltas[index] ?? 0;
  at += delta;
  const node = byId.get(id);
  if (at < from || at > to || !node || ["(idle)", "(program)", "(root)"].includes(node.callFrame.functionName)) continue;
  busy += delta;
  add(self, nameOf(node), delta);
  add(files, fileOf(node), delta);
  const seen = new Set<string>();
  for (let above: number | undefined = id; above !== undefined; above = parents.get(above)) {
    const name = nameOf(byId.get(above) as ProfileNode);
    if (!seen.has(name)) add(whole, name, delta);
    seen.add(name);
  }
}

process.stdout.write(`busy ${(busy / 1e6).toFixed(1)} s of ${((to - from) / 1e6).toFixed(1)} s\n`);
for (const [title, table] of [
  ["self", self],
  ["with what it called", whole],
  ["by file", files],
] as const) {
  process.stdout.write(`\n${title}\n`);
  const rows = [...table].toSorted(([, a], [, b]) => b - a).slice(0, Number(values.top));
  for (const [name, time] of rows)
    process.stdout.write(`${((time / busy) * 100).toFixed(1).padStart(5)} % ${(time / 1e6).toFixed(2).padStart(7)} s  ${name}\n`);
}

function add(table: Map<string, number>, key: string, value: number): void {
  table.set(key, (table.get(key) ?? 0) + value);
}

function nameOf(node: ProfileNode): string {
  return `${node.callFrame.functionName || "(anonymous)"} ${fileOf(node)}:${node.callFrame.lineNumber + 1}`;
}

function fileOf({ callFrame }: ProfileNode): string {
  return callFrame.url.replace(/^.*\/node_modules\//, "").replace(/^file:\/\/.*\/(proto|hub|agent|test)\//, "$1/") || "(native)";
}
