import type { Page, RolloutStatus } from "@flotilla/proto/rest/contract";
import type { HubApi } from "../harness/hub-api.ts";
import { say } from "./crowd-rig.ts";
import { type Figure, percentile } from "./figures.ts";

/** Milliseconds at p99. */
const pageTarget = 100;
const filteredTarget = 150;
const answerTarget = 1_024;

interface Question {
  readonly name: string;
  readonly target: number;
  /** Another one each time. */
  readonly path: () => string;
}

function questions({ clusters, apps }: AskOptions, cursors: ReadonlyMap<string, readonly string[]>, rollout: number): Question[] {
  const any = (): string => `sim-${String(Math.floor(Math.random() * clusters)).padStart(5, "0")}`;
  const region = (): string => `r-${String(Math.floor(Math.random() * 100)).padStart(2, "0")}`;
  const bundle = (): string => `app-${Math.floor(Math.random() * apps)}`;
  /** At a random place of a list, as a reader meets it who goes through all pages. */
  const paged = (list: string) => (): string => {
    const known = cursors.get(list) ?? [""];
    const cursor = known[Math.floor(Math.random() * known.length)] ?? "";
    return `${list}${cursor === "" ? "" : `&cursor=${cursor}`}`;
  };
  const page = (name: string, path: () => string): Question => ({ name, path, target: pageTarget });
  const filtered = (name: string, path: () => string): Question => ({ name, path, target: filteredTarget });
  return [
    page("fleet status: the fleets", () => "/fleets?limit=500"),
    page("fleet status: the fleet's heading", () => "/fleets/shop"),
    page("fleet status: its rollout", () => "/fleets/shop/rollout"),
    page("fleet status: a page of 500 clusters", paged(lists.targets)),
    page("fleet status -o wide: a page of 500 bundles", paged(lists.bundles)),
    page("fleet cluster list: a page of 500", paged(lists.clusters)),
    page("fleet cluster show: the cluster", () => `/clusters/${any()}`),
    page("drift list: the newest 500", () => "/drift?limit=500"),
    page("events: the newest 50", () => "/events?order=desc&limit=50"),
    page("history: the revisions", () => "/fleets/shop/revisions?limit=20"),
    page("the rollout's clusters, a page of 500", paged(`/rollouts/${rollout}/clusters?limit=500`)),
    filtered("targets that failed", () => "/fleets/shop/targets?limit=500&health=Failed"),
    filtered("targets that are Unknown", () => "/fleets/shop/targets?limit=500&sync=Unknown"),
    filtered("clusters of a region", () => `/clusters?limit=500&labelSelector=region%3D${region()}`),
    filtered("clusters of a fleet with a label", () => "/clusters?limit=500&fleet=shop&labelSelector=env%3Dprod"),
    filtered("clusters that are Unknown", () => "/clusters?limit=500&phase=Unknown"),
    filtered("bundles that failed", () => "/bundles?limit=500&fleet=shop&health=Failed"),
    filtered("bundles that are out of sync, of all fleets", () => "/bundles?limit=500&sync=OutOfSync"),
    filtered("bundles that are Unknown", () => "/bundles?limit=500&sync=Unknown"),
    filtered("a bundle in every cluster", () => `/bundles?limit=500&fleet=shop&bundle=${bundle()}`),
    filtered("bundles of a cluster", () => `/bundles?limit=500&fleet=shop&cluster=${any()}`),
    filtered("objects in trouble", () => "/objects?limit=500&fleet=shop&troubled=true"),
    filtered("objects of a cluster", () => `/objects?limit=500&cluster=${any()}`),
    filtered("objects by name", () => `/objects?limit=500&fleet=shop&name=${bundle()}`),
    filtered("drift that is open", () => "/drift?limit=500&open=true"),
    filtered("drift of a cluster", () => `/drift?limit=500&cluster=${any()}`),
    filtered("events of a cluster", () => `/events?order=desc&limit=50&cluster=${any()}`),
    filtered("events with a reason", () => "/events?order=desc&limit=50&reason=DriftHealed"),
    filtered("events with a reason that there is none of", () => "/events?order=desc&limit=50&reason=PruneHeld"),
    filtered("history of a cluster", () => `/releases?limit=20&fleet=shop&cluster=${any()}`),
    filtered("history: what ran where at a time", () => `/releases?limit=500&fleet=shop&at=${encodeURIComponent(new Date().toISOString())}`),
  ];
}

const lists = { targets: "/fleets/shop/targets?limit=500", bundles: "/bundles?fleet=shop&limit=500", clusters: "/clusters?limit=500" };

interface AskOptions {
  readonly clusters: number;
  readonly apps: number;
  /** Of each kind. */
  readonly requests: number;
}

/** Ask a hub whose fleet "shop" has so many clusters "sim-00000" and so on, with so many bundles "app-0" and so on each. */
export async function askHub(api: HubApi, options: AskOptions): Promise<Figure[]> {
  const rollout = (await api.request<RolloutStatus>("GET", "/api/v1/fleets/shop/rollout")).rollout?.id ?? 0;
  const cursors = new Map<string, string[]>();
  for (const list of [...Object.values(lists), `/rollouts/${rollout}/clusters?limit=500`]) cursors.set(list, await placesOf(api, list));
  const figures: Figure[] = [];
  let largest = { bytes: 0, name: "" };
  for (const { name, path, target } of questions(options, cursors, rollout)) {
    const times: number[] = [];
    let bytes = 0;
    // A list that takes seconds is no better known after 200 requests.
    for (let round = 0, spent = 0; round < options.requests && (spent < 20_000 || round < 20); round += 1) {
      const answer = await ask(api, path());
      times.push(answer.ms);
      spent += answer.ms;
      bytes = Math.max(bytes, answer.bytes);
    }
    if (bytes > largest.bytes) largest = { bytes, name };
    say(`  ${name}: p50 ${percentile(times, 50).toFixed(1)} ms, p99 ${percentile(times, 99).toFixed(1)} ms, ${(bytes / 1024).toFixed(0)} KiB`);
    figures.push(
      { name: `${name}, p50`, value: percentile(times, 50), unit: "ms" },
      { name: `${name}, p99`, value: percentile(times, 99), unit: "ms", target },
    );
  }
  figures.push({ name: `the largest answer (${largest.name})`, value: largest.bytes / 1024, unit: "KiB", target: answerTarget });
  return figures;
}

/** Some of a million rows' places are enough. */
const placesMax = 20;

async function placesOf(api: HubApi, list: string): Promise<string[]> {
  const found = [""];
  for (let next = nextOf(await ask(api, list)); next !== null && found.length < placesMax;) {
    found.push(next);
    next = nextOf(await ask(api, `${list}&cursor=${next}`));
  }
  return found;
}

const nextOf = ({ text }: { readonly text: string }): string | null => (JSON.parse(text) as Page<unknown>).next;

async function ask(api: HubApi, path: string): Promise<{ readonly ms: number; readonly bytes: number; readonly text: string }> {
  const at = performance.now();
  const response = await fetch(`${api.url}/api/v1${path}`, { headers: { authorization: `Bearer ${api.token}` } });
  const text = await response.text();
  const ms = performance.now() - at;
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${text.slice(0, 300)}`);
  return { ms, bytes: Buffer.byteLength(text), text };
}
