// `npm run check`: everything about the code that needs no server, each step with its time. All steps run; the status
// says whether one failed. `npm run check -- types lint` runs those only.
import { spawn } from "node:child_process";
import { join } from "node:path";

const bin = (name) => join("node_modules", ".bin", name);

const steps = {
  format: [bin("oxfmt"), "--check", "-c", "test/repo/oxfmt.json", "--ignore-path", "test/repo/oxfmt.ignore", "."],
  lint: [bin("oxlint"), "--type-aware", "-c", "test/repo/oxlint.json", "--deny-warnings", "proto", "hub", "agent", "cli", "test"],
  types: [bin("tsc"), "-b", "--pretty", "false", "proto", "hub", "agent", "cli", "test"],
  proto: [bin("buf"), "lint", "proto"],
  repository: [bin("vitest"), "run", "--config", "test/vitest.config.ts", "--project", "repo"],
  "dead code": [bin("knip"), "-c", "test/repo/knip.json", "--no-progress"],
};

const wanted = process.argv.slice(2);
const failed = [];
for (const [name, [file, ...args]] of Object.entries(steps)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const startedAt = Date.now();
  const { status, output } = await run(file, args);
  const seconds = ((Date.now() - startedAt) / 1_000).toFixed(1);
  process.stdout.write(`${status === 0 ? "ok  " : "FAIL"}  ${name.padEnd(12)} ${seconds} s\n`);
  if (status === 0) continue;
  failed.push(name);
  process.stdout.write(`${output.trimEnd().replaceAll(/^/gm, "      ")}\n`);
}
if (failed.length > 0) {
  process.stdout.write(`check failed: ${failed.join(", ")}${failed.includes("format") ? " (npm run format mends the format)" : ""}\n`);
  process.exitCode = 1;
}

function run(file, args) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => (output += bytes));
    child.once("error", (error) => resolve({ status: 1, output: error.message }));
    child.once("close", (status) => resolve({ status: status ?? 1, output }));
  });
}
