import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type ChaosOutcome, runChaos } from "./run-chaos.ts";

/**
 * A whole system under random traffic and faults, and what became of each guarantee: `npm run chaos`, see docs/chaos.md.
 * `--minutes N` (3), `--hours N`, `--seed S`, `--hubs 1|2` (1 for an odd seed, 2 for an even one), `--real N` (2), `--simulated N` (24), `--only WORDS` (faults with these words in their names).
 */

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "3" },
    hours: { type: "string" },
    seed: { type: "string" },
    hubs: { type: "string" },
    only: { type: "string" },
    real: { type: "string", default: "2" },
    simulated: { type: "string", default: "24" },
  },
});

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const totalMs = values.hours === undefined ? number("--minutes", values.minutes) * 60_000 : number("--hours", values.hours) * 3_600_000;
/** A long run is a row of runs, each with a seed of its own: what fails can be played again alone. */
const runMs = 10 * 60_000;

let seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : number("--seed", values.seed);
let isBroken = false;
for (let leftMs = totalMs; leftMs > 0; leftMs -= runMs) {
  const durationMs = Math.min(runMs, leftMs);
  const hubs = values.hubs === undefined ? 2 - (seed % 2) : number("--hubs", values.hubs);
  if (hubs !== 1 && hubs !== 2) throw new Error(`--hubs is ${hubs}; it takes 1 or 2`);
  const again = `npm run chaos -- --seed ${seed} --minutes ${(durationMs / 60_000).toFixed(1)} --hubs ${hubs} --real ${values.real} --simulated ${values.simulated}${values.only === undefined ? "" : ` --only "${values.only}"`}`;
  const historyFile = join(tmpdir(), `flotilla-chaos-${seed}.jsonl`);
  say(`seed ${seed}; play it again: ${again}`);
  const outcome = await runChaos({
    seed,
    durationMs,
    hubs,
    real: number("--real", values.real),
    simulated: number("--simulated", values.simulated),
    only: values.only,
    historyFile,
    say,
  });
  tell(outcome);
  isBroken ||= outcome.verdicts.some(({ problems }) => problems.length > 0);
  say(`history: ${historyFile}`);
  seed += 1;
}
process.exitCode = isBroken ? 1 : 0;

function tell({ faults, verdicts, pushes, reports }: ChaosOutcome): void {
  const width = Math.max(0, ...[...faults.keys()].map((name) => name.length)) + 2;
  say(`\n${pushes} pushes, ${reports} reports seen\n\n${"fault".padEnd(width)}times`);
  for (const [name, count] of [...faults].sort()) say(`${name.padEnd(width)}${count}`);
  say("\nguarantee  verdict  looked at");
  for (const { guarantee, looked, problems } of verdicts) {
    say(`${guarantee.padEnd(11)}${(problems.length === 0 ? "held" : "BROKEN").padEnd(9)}${looked}`);
    for (const problem of problems) say(`${" ".repeat(20)}${problem}`);
  }
}

function number(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${flag} is '${text}'; it takes a number`);
  return value;
}
