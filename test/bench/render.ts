import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { forgeOf } from "../harness/forge.ts";
import { startGitServer } from "../harness/git-server.ts";
import { startHub } from "../harness/hub-process.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { profileArgs } from "../harness/simulated/crowd.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { say } from "./crowd-rig.ts";
import { medianFigure, percentile, reportFigures } from "./figures.ts";
import { embeddedUrl } from "./grown-hub.ts";
import { residentMiB } from "./proc-usage.ts";

/**
 * A monorepo: 1,000 apps with a kustomization each and 5,000 plain files in 50 folders, one fleet, one cluster. From the creation of the fleet until everything is released, with nothing
 * rendered before; then one file is changed at a time, from the push until the targets are committed.
 * `npm run bench -- render [--json FILE] [--write] [--apps 1000] [--files 5000] [--changes 20]`.
 */

const { values } = parseArgs({
  options: {
    json: { type: "string" },
    write: { type: "boolean" },
    apps: { type: "string", default: "1000" },
    files: { type: "string", default: "5000" },
    changes: { type: "string", default: "20" },
  },
});
const [apps, files, changes] = [Number(values.apps), Number(values.files), Number(values.changes)];
const filesPerFolder = 100;

function repository(): Record<string, string> {
  const tree: Record<string, string> = {};
  const names: string[] = [];
  for (let app = 0; app < apps; app += 1) {
    names.push(`apps/app-${app}`);
    tree[`deploy/apps/app-${app}/kustomization.yaml`] = "resources: [app.yaml]\ncommonAnnotations: { team: shop }\n";
    tree[`deploy/apps/app-${app}/app.yaml`] = configMap(`app-${app}`, "first");
  }
  for (let file = 0; file < files; file += 1) {
    const folder = `plain/part-${Math.floor(file / filesPerFolder)}`;
    if (file % filesPerFolder === 0) names.push(folder);
    tree[`deploy/${folder}/file-${file}.yaml`] = configMap(`file-${file}`, "first");
  }
  const bundles = names.map((path) => `    - { name: ${path.split("/")[1]}, path: ${path} }\n`).join("");
  tree["deploy/fleet.yaml"] = `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\nspec:\n  bundles:\n${bundles}`;
  return tree;
}

function configMap(name: string, value: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}", text: "${"x".repeat(500)}" }\n`;
}

/** One kustomized app and one plain file by turns. */
function changeOf(round: number): Record<string, string> {
  const app = (round * 37) % apps;
  const file = (round * 53) % files;
  return round % 2 === 0
    ? { [`deploy/apps/app-${app}/app.yaml`]: configMap(`app-${app}`, `round-${round}`) }
    : { [`deploy/plain/part-${Math.floor(file / filesPerFolder)}/file-${file}.yaml`]: configMap(`file-${file}`, `round-${round}`) };
}

const folder = await scratchFolder("render");
const stops: (() => Promise<void>)[] = [() => removeFolder(folder)];
try {
  const git = await startGitServer();
  stops.unshift(() => git.stop());
  const env = profileArgs().length > 0 ? { NODE_OPTIONS: profileArgs().join(" ") } : {};
  const hub = await startHub({ dataDir: join(folder, "hub"), folder, build: "bundle", args: ["--log-level", "warn"], env });
  stops.unshift(() => hub.stop());
  const source = await git.createRepository("shop");
  await source.commit(repository(), { message: "First" });
  await hub.api.addCluster("one");
  const idleMiB = await residentMiB(hub.pid);
  say(`rendering ${apps} kustomizations and ${files} plain files …`);
  const began = performance.now();
  const { webhook } = await hub.api.createFleet({ name: "shop", repository: source.url, path: "deploy", ref: { branch: "main" }, selector: {} });
  await waitForValue(
    () => hub.api.targets("shop"),
    (rows) => rows.length === 1,
    { what: "the first targets", timeoutMs: 900_000, everyMs: 100 },
  );
  const coldMs = performance.now() - began;
  say(`  released after ${(coldMs / 1_000).toFixed(1)} s`);
  const forge = forgeOf(hub, source, { path: webhook.path, secret: webhook.secret ?? "" });
  const listener = new pg.Client({ connectionString: await embeddedUrl(hub.dataDir) });
  await listener.connect();
  stops.unshift(() => listener.end());
  await listener.query("LISTEN flotilla_targets");
  const times: number[] = [];
  for (let round = 0; round < changes; round += 1) {
    const released = new Promise<number>((resolve) => listener.once("notification", () => resolve(performance.now())));
    const { pushedAt } = await forge.push(changeOf(round));
    times.push((await released) - pushedAt);
    say(`  change ${round + 1}: ${times.at(-1)?.toFixed(0)} ms`);
  }
  const status = await readFile(`/proc/${hub.pid}/status`, "utf8");
  const mostMiB = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
  process.exitCode = await reportFigures(
    "render",
    [
      { name: `${apps} kustomizations and ${files} plain files, cold: to targets`, value: coldMs / 1_000, unit: "s" },
      { ...medianFigure("one file changed: push to targets", times, "ms"), target: 300 },
      { name: "one file changed: push to targets, p99", value: percentile(times, 99), unit: "ms" },
      { name: "hub resident set before", value: idleMiB, unit: "MiB" },
      { name: "hub resident set, the most", value: mostMiB, unit: "MiB", target: 400 },
    ],
    values,
  );
} finally {
  for (const stop of stops) await stop();
}
