import { parseArgs } from "node:util";
import type { Preview } from "@flotilla/proto/rest/contract";
import type { GitRepository } from "../harness/git-server.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { openAnsweringLinks } from "./answering-links.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * A preview of a branch in which one app of twenty is another: on real API servers, how long it takes and what each of them is asked; and with links that
 * answer at once in place of agents, what it costs the hub and the way to them.
 * `npm run bench -- preview [--json FILE] [--write] [--clusters N] [--links N] [--rounds N]`.
 */

const apps = 20;
const objectsPerApp = 10;
const fleetFile = (name: string, isLinked: boolean) => `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: ${name} }
spec:
  clusters: { matchLabels: { linked: "${isLinked}" } }
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
      links: { type: "string", default: "300" },
      rounds: { type: "string", default: "10" },
    },
  });
  const [count, links, rounds] = [Number(values.clusters), Number(values.links), Number(values.rounds)];
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say(`Starting ${count} API servers, a Git server, the hub and ${count} agents …`);
  const platform = await startPlatform({
    build: "bundle",
    // One of them tells what it is asked.
    clusters: Array.from({ length: count }, (_, index) => ({
      name: `c-${String(index).padStart(2, "0")}`,
      labels: { linked: "false" },
      kube: { auditLog: index === 0 },
    })),
    progress: (step) => say(`  … ${step}`),
  });
  try {
    const { api } = platform.hub;
    const real = await startFleet(platform, "shop", false);
    await platform.converged("shop", real.revision, { timeoutMs: 180_000 });
    const dryRuns = async (): Promise<number> =>
      (await platform.members[0]?.kube.auditedRequests())?.filter(({ requestURI, stage }) => requestURI.includes("dryRun=All") && stage === "ResponseComplete")
        .length ?? 0;
    const before = await dryRuns();
    const times = await previewRounds(platform, "shop", real.repository, rounds, count);
    const asked = ((await dryRuns()) - before) / rounds;
    say(`${links} links that answer at once …`);
    const changed = Array.from({ length: objectsPerApp }, (_, index) => ({ object: `/ConfigMap/default/app-3-${index}`, bundle: "app-3" }));
    const linked = await openAnsweringLinks(api, links, { linked: "true" }, changed);
    try {
      await waitForValue(
        () => api.clusters(),
        (rows) => rows.filter(({ labels, phase }) => labels["linked"] === "true" && phase === "Connected").length === links,
        { what: "every link is connected", timeoutMs: 120_000, everyMs: 500 },
      );
      const wide = await startFleet(platform, "wide", true);
      await waitForValue(
        () => api.targets("wide"),
        (rows) => rows.length === links,
        { what: "every link has its target", timeoutMs: 120_000, everyMs: 200 },
      );
      const wideTimes = await previewRounds(platform, "wide", wide.repository, rounds, links);
      const figures: Figure[] = [
        rounded(medianFigure(`preview on ${count} real clusters, one app of ${apps} changed`, times, "ms")),
        {
          name: `dry runs that each is asked for (of ${apps * objectsPerApp} objects, ${objectsPerApp} changed)`,
          value: asked,
          unit: "",
          target: objectsPerApp,
        },
        rounded(medianFigure(`the same on ${links} links that answer at once`, wideTimes, "ms")),
      ];
      return await reportFigures("preview", figures, values);
    } finally {
      await linked.close();
    }
  } finally {
    await platform.stop();
  }
}

async function startFleet(platform: Platform, name: string, isLinked: boolean): Promise<{ repository: GitRepository; revision: string }> {
  const repository = await platform.git.createRepository(name);
  const files = Object.assign({}, ...Array.from({ length: apps }, (_, app) => appFiles(app, "0"))) as Record<string, string>;
  const revision = await repository.commit({ "fleet.yaml": fleetFile(name, isLinked), ...files }, { message: "First" });
  await platform.hub.api.createFleet({ name, repository: repository.url, ref: { branch: "main" } });
  await waitForValue(
    () => platform.hub.api.fleet(name),
    (row) => row.revision === revision,
    { what: `fleet ${name} is rendered`, timeoutMs: 120_000 },
  );
  await repository.createBranch("next");
  return { repository, revision };
}

/** A new change each time: what is rendered is not in the cache. */
async function previewRounds({ hub }: Platform, fleet: string, repository: GitRepository, rounds: number, clusters: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await repository.commit(appFiles(3, `${fleet} ${round}`), { branch: "next", message: `Round ${round}` });
    const at = performance.now();
    const begun = await hub.api.request<Preview>("POST", `/api/v1/fleets/${fleet}/previews`, { branch: "next" });
    const ended = await waitForValue(
      () => hub.api.request<Preview>("GET", `/api/v1/previews/${begun.id}`),
      ({ endedAt }) => endedAt !== null,
      { what: "the preview's end", timeoutMs: 120_000, everyMs: 10 },
    );
    times.push(performance.now() - at);
    const [group, ...others] = ended.groups;
    if (others.length > 0 || group?.clusters.length !== clusters || group.objects.length !== objectsPerApp)
      throw new Error(`another answer than wanted: ${JSON.stringify(ended).slice(0, 500)}`);
  }
  return times;
}

function rounded(figure: Figure): Figure {
  return { ...figure, value: Math.round(figure.value), ...(figure.range && { range: [Math.round(figure.range[0]), Math.round(figure.range[1])] as const }) };
}

process.exitCode = await main();
