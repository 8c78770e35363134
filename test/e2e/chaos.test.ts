import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runChaos } from "../chaos/run-chaos.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";

/** Always the same here; `npm run chaos` draws others (docs/chaos.md). */
const seed = 20_261_129;

await describeWith(kubeTools, "a whole system under traffic and faults", () => {
  it(`keeps what it guarantees (npm run chaos -- --seed ${seed} --minutes 0.25 --hubs 1 --simulated 6)`, async () => {
    const said: string[] = [];
    const historyFile = join(tmpdir(), `flotilla-chaos-${seed}-${process.pid}.jsonl`);
    const outcome = await runChaos({ seed, durationMs: 15_000, hubs: 1, real: 2, simulated: 6, historyFile, say: (line) => said.push(line) });
    const broken = outcome.verdicts.flatMap(({ guarantee, problems }) => problems.map((problem) => `${guarantee}: ${problem}`));
    expect(broken, `${said.join("\n")}\nhistory: ${historyFile}`).toEqual([]);
    // A run without faults or reports proves nothing.
    expect([...outcome.faults.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(1);
    expect(outcome.reports).toBeGreaterThan(20);
    expect(outcome.verdicts.find(({ guarantee }) => guarantee === "G17")?.looked).toMatch(/^[1-9]/);
  }, 300_000);
});
