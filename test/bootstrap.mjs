// Makes a clone ready and runs one of its commands: `node test/bootstrap.mjs test|demo|bench|chaos|check|tools [arguments]`.
// It runs before anything is installed, under whatever Node the machine has, so it is plain JavaScript without dependencies.
// What is ready already is not done again: a second run starts the command within seconds.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { constants, homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamps = join(root, "node_modules", ".cache", "flotilla");
const binFolder = join(root, "node_modules", ".bin");
const node24 = join(binFolder, "node");

/** What each command runs once the clone is ready. `servers` builds the real servers first, with their progress in sight. */
const commands = {
  test: { servers: true, argv: (rest) => [join(root, "node_modules/vitest/vitest.mjs"), "run", "--config", "test/vitest.config.ts", ...rest] },
  demo: { servers: true, argv: (rest) => ["--disable-warning=ExperimentalWarning", "test/demo/demo.ts", ...rest] },
  bench: { servers: true, argv: (rest) => ["--disable-warning=ExperimentalWarning", ...benchOf(rest)] },
  chaos: { servers: true, argv: (rest) => ["--disable-warning=ExperimentalWarning", "test/chaos/chaos.ts", ...rest] },
  check: { servers: false, argv: (rest) => ["test/check.mjs", ...rest] },
  tools: { servers: true, argv: undefined },
};

/** Each test and each demo starts dozens of Node processes from the same sources: what is compiled once halves the processor time of the next start. */
const environment = {
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, "node_modules", ".cache", "compiled"),
  // Tests start what was just built: test/harness/programs.ts.
  FLOTILLA_TEST_PROGRAMS: process.env.FLOTILLA_TEST_PROGRAMS ?? "bundle",
};

/** What the benches share, and no bench itself. */
const benchParts = new Set([
  "figures.ts",
  "bench-objects.ts",
  "proc-usage.ts",
  "answering-links.ts",
  "crowd-rig.ts",
  "crowd-fleet.ts",
  "grown-hub.ts",
  "api-questions.ts",
  "asked-process.ts",
  "event-process.ts",
  "event-words.ts",
  "read-profile.ts",
]);

main().catch((error) => {
  process.stderr.write(`\nflotilla: ${error.message}\n`);
  process.exitCode = 1;
});

async function main() {
  const [name = "", ...rest] = process.argv.slice(2);
  const command = commands[name];
  if (!command) throw new Error(`there is no '${name}'; there are: ${Object.keys(commands).join(", ")}`);
  process.chdir(root);
  const startedAt = Date.now();
  checkMachine();
  await step("packages (npm ci)", isInstalled, install);
  await step("generated code", () => stampHolds("generated", generatedInputs()), generate);
  await step("build", () => stampHolds("built", buildInputs()), build);
  // Simulated clusters need none of them; what the hub itself runs it finds or builds by itself.
  if (command.servers && !rest.includes("--simulated")) await step("real servers", () => false, prepareServers);
  const seconds = (Date.now() - startedAt) / 1_000;
  if (seconds > 5) say(`ready after ${seconds.toFixed(0)} s`);
  if (command.argv) process.exitCode = await run(node24, command.argv(rest), environment);
}

function checkMachine() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) throw new Error(`Node ${process.versions.node} is too old to begin with; install Node 20 or newer. Node 24 itself comes with the packages.`);
}

// Packages.

/** True when every package of the lock file is in node_modules in its version, however it came there. */
function isInstalled() {
  if (!existsSync(node24)) return false;
  if (stampHolds("installed", lockFiles())) return true;
  const hidden = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(hidden)) return false;
  const wanted = Object.entries(readJson(join(root, "package-lock.json")).packages);
  const present = readJson(hidden).packages;
  const complete = wanted.every(
    ([path, { version, optional, link }]) => !path.startsWith("node_modules/") || link || optional || present[path]?.version === version,
  );
  if (complete) stamp("installed", lockFiles());
  return complete;
}

function lockFiles() {
  return hashFiles(["package-lock.json", "package.json", ".npmrc"]);
}

/** npm must run under Node 24: under an older one it may choose other versions. */
async function install() {
  const npm = npmProgram();
  const node = process.versions.node.startsWith("24.") ? process.execPath : await firstNode24(npm);
  const env = { PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  if ((await run(node, [npm, "ci", ...quiet], env)) !== 0) {
    say("  npm ci refused; npm install with the same lock file instead (see above why)");
    await mustRun(node, [npm, "install", "--no-save", ...quiet], env);
  }
  if (!existsSync(node24)) throw new Error("npm ci did not bring Node 24 (package 'node'); were install scripts forbidden (npm config ignore-scripts)?");
  stamp("installed", lockFiles());
}

/** The Node that installs: one platform package of the version that the lock file pins, kept in the user's cache. */
async function firstNode24(npm) {
  const version = readJson(join(root, "package.json")).devDependencies.node;
  const packageName = `node-${process.platform}-${process.arch}`;
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flotilla", "node", version);
  const file = join(folder, "node_modules", packageName, "bin", "node");
  if (existsSync(file)) return file;
  say(`  Node ${version}, to install with`);
  const part = `${folder}.${process.pid}`;
  mkdirSync(part, { recursive: true });
  writeFileSync(join(part, "package.json"), "{}");
  await mustRun(process.execPath, [
    npm,
    "install",
    "--prefix",
    part,
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--loglevel=error",
    `${packageName}@${version}`,
  ]);
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return file;
}

/** npm's own program, without the shell around it. */
function npmProgram() {
  const given = process.env.npm_execpath;
  if (given && /npm-cli\.c?js$/.test(given)) return given;
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const file = join(folder, "npm");
    if (existsSync(file)) return realpathSync(file);
  }
  throw new Error("npm is not on the PATH; install Node 20 or newer with its npm");
}

// Generated code and bundles.

function generatedInputs() {
  return hashFiles([...filesUnder("proto/fleet"), "proto/buf.gen.yaml", "package-lock.json"]);
}

async function generate() {
  await mustRun(node24, [join(root, "node_modules/@bufbuild/buf/bin/buf"), "generate", "proto", "--template", "proto/buf.gen.yaml"]);
  stamp("generated", generatedInputs());
}

function buildInputs() {
  const sources = ["proto", "hub", "agent", "cli"].flatMap((workspace) => [...filesUnder(`${workspace}/src`), ...buildFiles(workspace)]);
  return hashFiles([...sources, "package-lock.json"]);
}

function buildFiles(workspace) {
  return readdirSync(join(root, workspace))
    .filter((name) => name === "package.json" || name.endsWith(".mjs"))
    .map((name) => `${workspace}/${name}`);
}

async function build() {
  await mustRun(join(binFolder, "turbo"), ["run", "build", "--output-logs=errors-only"], {
    TURBO_TELEMETRY_DISABLED: "1",
    DO_NOT_TRACK: "1",
    TURBO_NO_UPDATE_NOTIFIER: "1",
  });
  stamp("built", buildInputs());
}

/** Found, or built with Go into the user's cache; says so itself. A missing one is told, and its tests are skipped. */
async function prepareServers() {
  await mustRun(node24, ["--disable-warning=ExperimentalWarning", "test/harness/prepare-tools.ts"]);
}

/** A bench by name with its flags; all of them without a name. */
function benchOf([name = "", ...rest]) {
  return name === "" || name.startsWith("-") ? [benchFile("all"), ...(name === "" ? [] : [name]), ...rest] : [benchFile(name), ...rest];
}

function benchFile(name) {
  const benches = readdirSync(join(root, "test/bench"))
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !benchParts.has(file))
    .map((file) => file.slice(0, -".ts".length));
  if (!benches.includes(name)) throw new Error(`give a bench: npm run bench -- ${benches.join(" | ")}`);
  return `test/bench/${name}.ts`;
}

// Steps, stamps, processes.

async function step(name, isDone, work) {
  if (isDone()) return;
  const startedAt = Date.now();
  const told = Date.now();
  if (name !== "real servers") say(`${name} …`);
  await work();
  const seconds = (Date.now() - startedAt) / 1_000;
  if (name !== "real servers" || Date.now() - told > 2_000) say(`${name}: ${seconds.toFixed(1)} s`);
}

function say(line) {
  process.stderr.write(`flotilla: ${line}\n`);
}

function stampHolds(name, hash) {
  const file = join(stamps, name);
  return existsSync(file) && readFileSync(file, "utf8") === hash;
}

function stamp(name, hash) {
  mkdirSync(stamps, { recursive: true });
  writeFileSync(join(stamps, name), hash);
}

function filesUnder(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => join(folder, name))
    .filter((name) => statSync(join(root, name)).isFile())
    .sort();
}

function hashFiles(files) {
  const hash = createHash("sha256");
  for (const file of files)
    if (existsSync(join(root, file)))
      hash
        .update(`${file}\0`)
        .update(readFileSync(join(root, file)))
        .update("\0");
  return hash.digest("hex");
}

function readJson(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

async function mustRun(file, args, env = {}) {
  const status = await run(file, args, env);
  if (status !== 0) throw new Error(`'${[file, ...args].map((part) => part.replace(`${root}/`, "")).join(" ")}' ended with status ${status}`);
}

/** Ctrl-C reaches the child as well as us, and is the child's to answer: we only wait and pass its status on. */
function run(file, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: "inherit", env: { ...process.env, PATH: `${binFolder}${delimiter}${process.env.PATH}`, ...env } });
    const pass = (signal) => child.kill(signal);
    // Ctrl-C reaches the child by itself; a signal sent to this process alone, or to the npm above it, does not.
    const interrupt = () => process.stdin.isTTY || child.kill("SIGTERM");
    const parent = process.ppid;
    const orphaned = setInterval(() => process.env.npm_lifecycle_event && process.ppid !== parent && child.kill("SIGTERM"), 500);
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", pass);
    process.on("SIGHUP", pass);
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      clearInterval(orphaned);
      process.off("SIGINT", interrupt).off("SIGTERM", pass).off("SIGHUP", pass);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}
