import { parseArgs } from "node:util";
import type { Preview } from "@flotilla/proto/rest/contract";
import { startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * A preview of a branch in which one app of twenty is another, on real API servers: how long it takes, and what each of them is asked.
 * `npm run bench -- preview [--json FILE] [--write] [--clusters N] [--rounds N]`.
 */

const apps = 20;
const objectsPerApp = 10;
const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: {}
  bundles:
${Array.from({ length: apps }, (_, app) => `    - { name: app-${app}, path: app-${app} }`).join("\n")}
`;
const appFiles = (app: number, value: string): Record<string, string> =>
  Object.fromEntries(
    Array.from({ length: objectsPerApp }, (_, index) => [
      `app-${app}/object-${index}.yaml`,
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app-${app}-${index}, namespace: default }\ndata: { value: "${value}" }\n`,
    ]),
  );

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      write: { type: "boolean" },
      clusters: { type: "string", default: "30" },
      rounds: { type: "string", default: "10" },
    },
  });
  const [count, rounds] = [Number(values.clusters), Number(values.rounds)];
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say(`Starting ${count} API servers, a Git server, the hub and ${count} agents …`);
  const platform = await startPlatform({
    build: "bundle",
    // One of them tells what it is asked.
    clusters: Array.from({ length: count }, (_, index) => ({ name: `c-${String(index).padStart(2, "0")}`, kube: { auditLog: index === 0 } })),
    progress: (step) => say(`  … ${step}`),
  });
  try {
    const repository = await platform.git.createRepository("shop");
    const files = Object.assign({}, ...Array.from({ length: apps }, (_, app) => appFiles(app, "0"))) as Record<string, string>;
    const first = await repository.commit({ "fleet.yaml": fleetFile, ...files }, { message: "First" });
    await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    await platform.converged("shop", first, { timeoutMs: 180_000 });
    await repository.createBranch("next");
    const dryRuns = async (): Promise<number> =>
      (await platform.members[0]?.kube.auditedRequests())?.filter(({ requestURI, stage }) => requestURI.includes("dryRun=All") && stage === "ResponseComplete")
        .length ?? 0;
    const times: number[] = [];
    const before = await dryRuns();
    for (let round = 1; round <= rounds; round += 1) {
      await repository.commit(appFiles(3, String(round)), { branch: "next", message: `Round ${round}` });
      const at = performance.now();
      const begun = await platform.hub.api.request<Preview>("POST", "/api/v1/fleets/shop/previews", { branch: "next" });
      const ended = await waitForValue(
        () => platform.hub.api.request<Preview>("GET", `/api/v1/previews/${begun.id}`),
        ({ endedAt }) => endedAt !== null,
        { what: "the preview's end", timeoutMs: 120_000, everyMs: 10 },
      );
      times.push(performance.now() - at);
      const [group, ...others] = ended.groups;
      if (others.length > 0 || group?.clusters.length !== count || group.objects.length !== objectsPerApp)
        throw new Error(`another answer than wanted: ${JSON.stringify(ended).slice(0, 500)}`);
    }
    const asked = ((await dryRuns()) - before) / rounds;
    const median = medianFigure(`preview of ${count} clusters, one app of ${apps} changed`, times, "ms");
    const figures: Figure[] = [
      { ...median, value: Math.round(median.value), ...(median.range && { range: [Math.round(median.range[0]), Math.round(median.range[1])] as const }) },
      {
        name: `dry runs that a cluster is asked for (of ${apps * objectsPerApp} objects, ${objectsPerApp} changed)`,
        value: asked,
        unit: "",
        target: objectsPerApp,
      },
    ];
    return await reportFigures("preview", figures, values);
  } finally {
    await platform.stop();
  }
}

process.exitCode = await main();
