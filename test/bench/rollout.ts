import { parseArgs } from "node:util";
import type { RolloutStatus } from "@flotilla/proto/rest/contract";
import { forgeOf } from "../harness/forge.ts";
import { startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { type Figure, medianFigure, reportFigures } from "./figures.ts";

/**
 * A rollout in three waves without soak on real API servers: from the push until it is done; and of a revision that is bad in one cluster of the last wave,
 * from its first failed health until the last cluster is back.
 * `npm run bench -- rollout [--json FILE] [--write] [--clusters N] [--rounds N]`.
 */

/** A tenth of the clusters is the first wave, half of the others the second. */
function tierOf(index: number, count: number): string {
  const canaries = Math.max(1, Math.round(count / 10));
  return index < canaries ? "canary" : index < canaries + (count - canaries) / 2 ? "eu" : "us";
}

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: {}
  bundles:
    - name: web
      path: web
      health: { checks: [{ group: "", kind: ConfigMap, current: "data.ok == 'yes'", failed: "data.ok == 'no'" }] }
      overlays: [{ clusters: { matchLabels: { last: "true" } }, path: web-last }]
  rollout:
    waves:
      - { name: canary, clusters: { matchLabels: { tier: canary } } }
      - { name: europe, clusters: { matchLabels: { tier: eu } } }
      - { name: rest }
`;
const manifest = (value: string, ok: boolean) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web, namespace: default }\ndata: { value: "${value}", ok: "${ok ? "yes" : "no"}" }\n`;
const version = (value: string, isGood = true) => ({ "web/web.yaml": manifest(value, true), "web-last/web.yaml": manifest(value, isGood) });

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      write: { type: "boolean" },
      clusters: { type: "string", default: "30" },
      rounds: { type: "string", default: "5" },
    },
  });
  const [count, rounds] = [Number(values.clusters), Number(values.rounds)];
  const say = (line: string) => process.stderr.write(`${line}\n`);
  say(`Starting ${count} API servers, a Git server, the hub and ${count} agents …`);
  const platform = await startPlatform({
    build: "bundle",
    clusters: Array.from({ length: count }, (_, index) => {
      const labels = { tier: tierOf(index, count), ...(index === count - 1 && { last: "true" }) };
      return { name: `c-${String(index).padStart(2, "0")}`, labels };
    }),
    progress: (step) => say(`  … ${step}`),
  });
  try {
    const repository = await platform.git.createRepository("shop");
    await repository.commit({ "fleet.yaml": fleetFile, ...version("first") }, { message: "First" });
    const { webhook } = await platform.hub.api.createFleet({ name: "shop", repository: repository.url, ref: { branch: "main" } });
    const forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
    const status = (): Promise<RolloutStatus> => platform.hub.api.request("GET", "/api/v1/fleets/shop/rollout");
    const ended = (revision: string | undefined) =>
      waitForValue(status, ({ rollout }) => rollout !== null && rollout.endedAt !== null && (revision === undefined || rollout.revision === revision), {
        what: "the rollout's end",
        timeoutMs: 300_000,
        everyMs: 20,
      });
    await ended(undefined);
    const [whole, back]: [number[], number[]] = [[], []];
    for (let round = 1; round <= rounds; round += 1) {
      say(`round ${round} of ${rounds} …`);
      const good = await forge.push(version(`good-${round}`));
      const done = await ended(good.revision);
      if (done.rollout?.phase !== "Done") throw new Error(`the rollout ended as ${done.rollout?.phase}: ${done.rollout?.reason}`);
      whole.push(performance.now() - good.pushedAt);
      const bad = await forge.push(version(`bad-${round}`, false));
      const { rollout } = await ended(bad.revision);
      if (rollout?.phase !== "RolledBack" || rollout.failure === null) throw new Error(`the rollout ended as ${rollout?.phase}: ${rollout?.reason}`);
      // Both are the hub's clock.
      back.push(Date.parse(rollout.endedAt ?? "") - Date.parse(rollout.failure.at));
    }
    const rounded = (figure: Figure): Figure => ({
      ...figure,
      value: Math.round(figure.value),
      ...(figure.range && { range: [Math.round(figure.range[0]), Math.round(figure.range[1])] as const }),
    });
    const figures: Figure[] = [
      rounded(medianFigure(`push to done: 3 waves on ${count} clusters, no soak`, whole, "ms")),
      rounded(medianFigure(`first failed health to the last of ${count} clusters rolled back`, back, "ms")),
    ];
    return await reportFigures("rollout", figures, values);
  } finally {
    await platform.stop();
  }
}

process.exitCode = await main();
