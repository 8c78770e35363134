#!/usr/bin/env node
// Starts the CLI under Node 24: with this Node when it is new enough, else with the one that npm installed beside it.
// In a clone the bundle is used while it is newer than every source file, else the sources themselves.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = 24;

/** Newest change under a folder of sources. */
function newest(folder) {
  return Math.max(
    0,
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );
}

function isFresh(bundle) {
  const sources = [join(home, "src"), join(home, "..", "proto", "src")].filter((folder) => existsSync(folder));
  return existsSync(bundle) && statSync(bundle).mtimeMs >= Math.max(0, ...sources.map(newest));
}

function entry() {
  const bundle = join(home, "dist", "fleet.mjs");
  const source = join(home, "src", "main.ts");
  return existsSync(source) && !isFresh(bundle) ? source : bundle;
}

/** Node 24 as npm lays it out: in a clone's root, or beside or under the installed package. */
function newerNode() {
  for (let folder = home; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, "node_modules", "node", "bin", "node");
    if (existsSync(file)) return file;
  }
  return undefined;
}

function startWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal's Ctrl-C reaches the child by itself; we only must not end before it.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal)));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)));
}

if (Number(process.versions.node.split(".")[0]) >= wanted) {
  const file = entry();
  if (file.endsWith(".ts")) {
    const warnings = process.listeners("warning");
    process.removeAllListeners("warning");
    process.on("warning", (warning) => warning.name !== "ExperimentalWarning" && warnings.forEach((listen) => listen(warning)));
  }
  await import(pathToFileURL(file).href);
} else {
  const node = newerNode();
  if (node) startWith(node);
  else {
    process.stderr.write(
      `error: fleet needs Node ${wanted} or newer, and this is ${process.versions.node}\n  hint: npm install node@${wanted} beside it, or put a newer Node on the PATH\n`,
    );
    process.exitCode = 1;
  }
}
