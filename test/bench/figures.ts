import { readFile, writeFile } from "node:fs/promises";
import { arch, cpus, loadavg, platform, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

/** One measured number. Without a target it is told, and never misses. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  /** E.g. "ms", "MiB", "objects/s"; "" for a ratio. */
  readonly unit: string;
  readonly target?: number;
  /** Which side of the target is good: "lower" when left out. */
  readonly better?: "lower" | "higher";
  /** Smallest and largest of the runs that `value` is the median of. */
  readonly range?: readonly [number, number];
}

/** The median of several runs, with their range. */
export function medianFigure(name: string, runs: readonly number[], unit: string): Figure {
  return { name, value: percentile(runs, 50), unit, range: [Math.min(...runs), Math.max(...runs)] };
}

/** By nearest rank. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/** What was measured where, as `--json FILE` writes it. */
export interface FigureReport {
  readonly name: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number; readonly system: string; readonly node: string };
  readonly figures: readonly { readonly name: string; readonly value: number; readonly unit: string; readonly target: number | null; readonly ok: boolean }[];
}

/** Whether a figure meets its target. */
export function meetsTarget({ value, target, better = "lower" }: Figure): boolean {
  if (target === undefined) return true;
  return better === "lower" ? value <= target : value >= target;
}

/** Where a bench writes its figures besides stdout. */
export interface FigureOutput {
  /** A file. */
  readonly json?: string | undefined;
  /** Into docs/benchmarks.md, in place of the bench's table there. */
  readonly write?: boolean | undefined;
}

/** Print a table on stdout, write what is asked for, and give the exit status: 1 when a target was missed. */
export async function reportFigures(name: string, figures: readonly Figure[], output: FigureOutput = {}): Promise<number> {
  process.stdout.write(table(figures));
  if (output.json !== undefined) await writeFigures(output.json, name, figures);
  if (output.write) await writeIntoDocs(name, figures);
  return figures.every(meetsTarget) ? 0 : 1;
}

const docsFile = fileURLToPath(new URL("../../docs/benchmarks.md", import.meta.url));

/** Between `<!-- bench NAME -->` and the next `<!-- end -->`: when and where, and the table. */
async function writeIntoDocs(name: string, figures: readonly Figure[]): Promise<void> {
  const text = await readFile(docsFile, "utf8");
  const [begin, end] = [`<!-- bench ${name} -->\n`, "<!-- end -->"];
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`${docsFile} has no place for ${name}: give it the lines "${begin.trim()}" and "${end}"`);
  await writeFile(docsFile, `${text.slice(0, from)}${begin}\n${markdown(name, figures)}\n${text.slice(to)}`);
}

function markdown(name: string, figures: readonly Figure[]): string {
  const { cpu, cores, memoryGiB, node } = figureReport(name, figures).machine;
  const load = loadavg().map((value) => value.toFixed(1));
  const where = `${new Date().toISOString().slice(0, 10)}, ${cores} cores (${cpu}), ${memoryGiB} GiB, Node ${node}, load average over 1, 5 and 15 minutes at the end ${load.join(", ")}.`;
  const rows = rowsOf(figures).map((row) => `| ${row.join(" | ")} |`);
  return `${where}\n\n${[rows[0], "| --- | --- | --- | --- | --- |", ...rows.slice(1)].join("\n")}\n`;
}

/** Write the JSON file alone: for what tells its figures in its own way. */
export async function writeFigures(file: string, name: string, figures: readonly Figure[]): Promise<void> {
  await writeFile(file, `${JSON.stringify(figureReport(name, figures), undefined, 2)}\n`);
}

function figureReport(name: string, figures: readonly Figure[]): FigureReport {
  const [cpu] = cpus();
  return {
    name,
    machine: {
      cpu: cpu?.model.trim() ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${arch()}`,
      node: process.version,
    },
    figures: figures.map((figure) => ({
      name: figure.name,
      value: rounded(figure.value),
      unit: figure.unit,
      target: figure.target ?? null,
      ok: meetsTarget(figure),
    })),
  };
}

function rowsOf(figures: readonly Figure[]): string[][] {
  const rows = figures.map((figure) => {
    const bound = figure.target === undefined ? "" : `${(figure.better ?? "lower") === "lower" ? "≤" : "≥"} ${figure.target}`;
    return [figure.name, shown(figure), figure.unit, bound, figure.target === undefined ? "" : meetsTarget(figure) ? "ok" : "MISSED"];
  });
  return [["figure", "value", "unit", "target", ""], ...rows];
}

function table(figures: readonly Figure[]): string {
  const all = rowsOf(figures);
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) =>
    row
      .map((cell, column) => (column === 1 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  return `${lines.join("\n")}\n`;
}

function shown({ value, range }: Figure): string {
  return range ? `${rounded(value)} (${rounded(range[0])} to ${rounded(range[1])})` : String(rounded(value));
}

/** Three digits are what a bench can tell. */
function rounded(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const scale = 10 ** Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Math.round(value * scale) / scale;
}
