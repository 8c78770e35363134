import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type pg from "pg";
import type { Logger } from "pino";
import type { Actor } from "./domain/actor.ts";
import { emptyPreview } from "./domain/preview.ts";
import type { Problem } from "./domain/problem.ts";
import { hasUnsafeCharacter } from "./domain/source-tree.ts";
import type { RenderTools } from "./render/render-tools.ts";
import { openSurveyMemory } from "./render/survey-bundle.ts";
import { openLocalTree } from "./source/local-tree.ts";
import type { GitSource } from "./source/open-source.ts";
import { renderCache } from "./store/bodies.ts";
import { readClustersForPlacement, readOwners } from "./store/followed-fleets.ts";
import {
  askDryRuns,
  beginPreview,
  countOpenAnswers,
  readAnswers,
  readAway,
  readLastRolloutMs,
  readPresentTargets,
  readPreviewedFleet,
  savePreview,
} from "./store/previews.ts";
import { readCredentials } from "./store/repositories.ts";
import type { Sealing } from "./store/sealing.ts";
import { refKey } from "./sync/follow-repositories.ts";
import { describeChange, type OpenedChange, previewFleet, type PreviewedChange, type PreviewPorts } from "./sync/preview-fleet.ts";

export interface PreviewOptions {
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  readonly source: GitSource;
  /** Where working copies lie while they are rendered. */
  readonly folder: string;
  readonly renderTools: RenderTools;
  readonly log: Logger;
}

export interface PreviewRequest {
  readonly fleet: string;
  readonly change: PreviewedChange;
  readonly clusters: readonly string[];
  readonly withinMs: number;
}

/** Previews that this replica makes. */
export interface Previews {
  /**
   * Begins one and goes on in the background; its row tells how it goes.
   *
   * @throws StoreError `not-found`, `conflict`.
   */
  begin(actor: Actor, request: PreviewRequest): Promise<string>;
  /** Breaks off what is being made. */
  close(): Promise<void>;
}

/** Binds the story of previews to the edges. */
export function startPreviews(options: PreviewOptions): Previews {
  const { pool, log } = options;
  const ports = previewPorts(options);
  const stopped = new AbortController();
  const running = new Set<Promise<unknown>>();
  return {
    async begin(actor, { fleet, change, clusters, withinMs }) {
      const id = await beginPreview(pool, { fleet, askedBy: actor.id, found: emptyPreview(describeChange(change)), withinMs });
      const signal = AbortSignal.any([stopped.signal, AbortSignal.timeout(withinMs + renderMs)]);
      const made = previewFleet(ports, { id, fleet, change, clusters, until: Date.now() + withinMs, signal }).catch((error: unknown) =>
        log.warn({ fleet, preview: id, error: (error as Error).message }, "a preview could not be written down"),
      );
      running.add(made);
      void made.finally(() => running.delete(made));
      return id;
    },
    async close() {
      stopped.abort();
      await Promise.allSettled(running);
    },
  };
}

/** A preview that is never done with rendering ends this long after its time. */
const renderMs = 120_000;

function previewPorts(options: PreviewOptions): PreviewPorts {
  const { pool, sealing } = options;
  return {
    tools: options.renderTools,
    memory: openSurveyMemory(),
    cache: renderCache(pool, sealing),
    readFleet: (fleet) => readPreviewedFleet(pool, fleet),
    openChange: (fleet, change, signal) => (change.kind === "files" ? openFiles(options.folder, change.files) : openRevision(options, fleet, change, signal)),
    readClusters: () => readClustersForPlacement(pool),
    readOwners: (clusters, fleet, wanted) => readOwners(pool, clusters, fleet, wanted),
    readPresentTargets: (fleet) => readPresentTargets(pool, fleet),
    readAway: (clusters) => readAway(pool, clusters),
    readLastRolloutMs: (fleet) => readLastRolloutMs(pool, fleet),
    askDryRuns: (preview, fleet, questions) => askDryRuns(pool, preview, fleet, questions),
    countOpenAnswers: (preview) => countOpenAnswers(pool, preview),
    readAnswers: (preview) => readAnswers(pool, preview),
    save: (preview, found) => savePreview(pool, preview, found),
  };
}

async function openRevision(
  { pool, sealing, source }: PreviewOptions,
  fleet: string,
  change: Exclude<PreviewedChange, { kind: "files" }>,
  signal: AbortSignal,
): Promise<OpenedChange | readonly Problem[]> {
  const row = await readPreviewedFleet(pool, fleet);
  if (!row) return [{ code: "not-found", message: `there is no fleet '${fleet}'` }];
  const access = { credentials: await readCredentials(pool, sealing, row.repositoryId), signal };
  let revision = change.kind === "revision" ? change.revision : "";
  if (change.kind === "branch") {
    const ref = { branch: change.branch };
    const fetched = await source.fetchRevision({ url: row.url, refs: [ref], ...access });
    if (!fetched.ok) return [fetched.problem];
    const found = fetched.revisions.get(refKey(ref));
    if (!found?.ok) return [found?.problem ?? { code: "unknown-ref", message: `the repository has no branch '${change.branch}'` }];
    revision = found.revision.revision;
  }
  const opened = await source.openTree(row.url, revision, access);
  if (!opened.ok) return [opened.problem];
  return { tree: opened.tree, revision, close: async () => undefined };
}

/** A working copy, on disk for as long as it is rendered. */
async function openFiles(folder: string, files: Extract<PreviewedChange, { kind: "files" }>["files"]): Promise<OpenedChange | readonly Problem[]> {
  const unsafe = files.find(
    ({ path }) => path.split("/").some((part) => part === "" || part === "." || part === ".." || part === ".git") || hasUnsafeCharacter(path),
  );
  if (unsafe) return [{ code: "refused-path", message: `'${unsafe.path.slice(0, 200)}' is no path inside a repository`, file: unsafe.path.slice(0, 200) }];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const root = await mkdtemp(join(folder, "copy-"));
  const close = (): Promise<void> => rm(root, { recursive: true, force: true });
  try {
    for (const { path, content } of files) {
      const file = join(root, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content, { mode: 0o600 });
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { tree: openLocalTree(root), revision: null, close };
}
