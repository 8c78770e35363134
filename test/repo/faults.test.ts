import { describe, expect, it } from "vitest";
import { readText, repositoryFiles } from "./repository.ts";

/** The rows of the table of faults in docs/guarantees.md. */
const faultsMax = 42;

/** Faults that no test can bring about, because what would answer them is not built. A row leaves with its first test. */
const untested: Readonly<Record<number, string>> = {};

interface TestName {
  readonly file: string;
  readonly name: string;
}

/** The first string of it(), describe() and their tables: after `it(`, after the `)(` that ends a table, or after the `],` of describeWith's tools. */
function testNames(file: string, text: string): TestName[] {
  return [...text.matchAll(/(?:(?:\b(?:it|describe)(?:\.\w+)*|\))\(|\],)\s*(["`])(.+?)\1/g)].map((match) => ({ file, name: match[2] ?? "" }));
}

/** "(fault 7)", "fault 7: …", "(fault 16, fault 20)". */
function faultsOf(name: string): number[] {
  return [...name.matchAll(/\bfaults? (\d+(?:, \d+)*)/g)].flatMap((match) => (match[1] ?? "").split(", ").map(Number));
}

/** By fault, the files with a test of it. */
function filesByFault(): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>();
  const names = repositoryFiles()
    .filter((file) => file.endsWith(".test.ts") && !file.startsWith("test/repo/"))
    .flatMap((file) => testNames(file, readText(file)));
  for (const { file, name } of names) {
    for (const fault of faultsOf(name)) found.set(fault, (found.get(fault) ?? new Set()).add(file));
  }
  return found;
}

const guarantees = "docs/guarantees.md";

/** The table's rows, by fault: which files have tests of it. */
function documentedFiles(): Map<number, string[]> {
  const rows = [...readText(guarantees).matchAll(/^\| (\d+) \|.*$/gm)];
  return new Map(rows.map(([row, fault]) => [Number(fault), [...row.matchAll(/\]\(\.\.\/([^)]+\.test\.ts)\)/g)].map((link) => link[1] ?? "")]));
}

describe("the faults", () => {
  const files = filesByFault();
  const all = Array.from({ length: faultsMax }, (_, index) => index + 1);

  it("have a test each with their number in its name, or a reason why not", () => {
    expect(all.filter((fault) => !files.has(fault) && !(fault in untested))).toEqual([]);
    expect([...files.keys()].filter((fault) => !all.includes(fault))).toEqual([]);
  });

  it("are not called untested when they have a test", () => {
    expect(Object.keys(untested).filter((fault) => files.has(Number(fault)))).toEqual([]);
  });

  it(`stand in ${guarantees} with the files that have their tests`, () => {
    const found = all.map((fault) => [fault, [...(files.get(fault) ?? [])].toSorted()]);
    expect([...documentedFiles()].map(([fault, named]) => [fault, named.toSorted()])).toEqual(found);
  });

  it("are read from every form of a test's name", () => {
    const text =
      'describe("a (fault 4)", () => { it("fault 3: b", go); it.each([\n["x"],\n])("c %s (fault 16, fault 20)", go); it.skipIf(!has)(`d ${seed} (G8, fault 15)`, go); }); describeWith(["cc"], "e (fault 35)", go);';
    expect(testNames("x.test.ts", text).flatMap(({ name }) => faultsOf(name))).toEqual([4, 3, 16, 20, 15, 35]);
  });
});

describe("the guarantees", () => {
  it("stand there, all seventeen, with experiments that exist", () => {
    const rows = [...readText(guarantees).matchAll(/^\| G(\d+) \|.*$/gm)];
    expect(rows.map(([, number]) => Number(number))).toEqual(Array.from({ length: 17 }, (_, index) => index + 1));
    const known = new Set(repositoryFiles());
    expect(rows.flatMap(([row]) => [...row.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map((match) => match[1] ?? "")).filter((file) => !known.has(file))).toEqual([]);
  });
});
