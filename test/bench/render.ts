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
 * A monorepo: 1,000 apps with a kustomization each are one fleet (as many bundles as one may have), 5,000 plain files in 50 folders another, in one cluster. From the creation of
 * the fleets until everything is released, with nothing rendered before; then one file is changed at a time, from the push until the targets of both fleets are committed.
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

const fleets = ["apps", "plain"];

function repository(): Record<string, string> {
  const tree: Record<string, string> = {};
  for (let app = 0; app < apps; app += 1) {
    tree[`apps/app-${app}/kustomization.yaml`] = "resources: [app.yaml]\ncommonAnnotations: { team: shop }\n";
    tree[`apps/app-${app}/app.yaml`] = configMap(`app-${app}`, "first");
  }
  for (let file = 0; file < files; file += 1) tree[`plain/${folderOf(file)}/file-${file}.yaml`] = configMap(`file-${file}`, "first");
  tree["apps/fleet.yaml"] = fleetFile("apps", apps, "app");
  tree["plain/fleet.yaml"] = fleetFile("plain", Math.ceil(files / filesPerFolder), "part");
  return tree;
}

function fleetFile(fleet: string, count: number, prefix: string): string {
  const bundles = Array.from({ length: count }, (_, index) => `    - { name: ${prefix}-${index} }\n`).join("");
  return `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: ${fleet} }\nspec:\n  bundles:\n${bundles}`;
}

function folderOf(file: number): string {
  return `part-${Math.floor(file / filesPerFolder)}`;
}

function configMap(name: string, value: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}", text: "${"x".repeat(500)}" }\n`;
}

/** One kustomized app and one plain file by turns. */
function changeOf(round: number): Record<string, string> {
  const app = (round * 37) % apps;
  const file = (round * 53) % files;
  return round % 2 === 0
    ? { [`apps/app-${app}/app.yaml`]: configMap(`app-${app}`, `round-${round}`) }
    : { [`plain/${folderOf(file)}/file-${file}.yaml`]: configMap(`file-${file}`, `round-${round}`) };
}

/** Both fleets have their targets of the new commit: each is told once. */
function releasedBoth(listener: pg.Client): Promise<number> {
  return new Promise((resolve) => {
    let left = fleets.length;
    const hear = (): void => {
      left -= 1;
      if (left > 0) return;
      listener.off("notification", hear);
      resolve(performance.now());
    };
    listener.on("notification", hear);
  });
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
  const created = [];
  for (const name of fleets) created.push(await hub.api.createFleet({ name, repository: source.url, path: name, ref: { branch: "main" }, selector: {} }));
  const first = await waitForValue(
    async () => ({
      problems: (await Promise.all(fleets.map((name) => hub.api.fleet(name)))).flatMap(({ problems }) => problems),
      targets: (await Promise.all(fleets.map((name) => hub.api.targets(name)))).filter((rows) => rows.length === 1).length,
    }),
    ({ problems, targets }) => problems.length > 0 || targets === fleets.length,
    { what: "the first targets", timeoutMs: 900_000, everyMs: 100 },
  );
  if (first.problems.length > 0) throw new Error(`a fleet is refused: ${JSON.stringify(first.problems.slice(0, 3))}`);
  const coldMs = performance.now() - began;
  say(`  released after ${(coldMs / 1_000).toFixed(1)} s`);
  const webhook = created.map((fleet) => fleet.webhook).find(({ secret }) => typeof secret === "string");
  const forge = forgeOf(hub, source, { path: webhook?.path ?? "", secret: webhook?.secret ?? "" });
  const listener = new pg.Client({ connectionString: await embeddedUrl(hub.dataDir) });
  await listener.connect();
  stops.unshift(() => listener.end());
  await listener.query("LISTEN flotilla_targets");
  const times: number[] = [];
  for (let round = 0; round < changes; round += 1) {
    const released = releasedBoth(listener);
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
