import type { FarewellMark } from "../domain/farewell.ts";
import { recentHeals, type Correction } from "../domain/heal-budget.ts";
import type { HookRun } from "../domain/hook-run.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObjects } from "./state-objects.ts";

/** What must be remembered of a fleet over a restart, apart from its target and its inventory. */
export interface OrderMemory {
  /** Newest run of each hook and phase, by hookRunKey. */
  readonly hooks: ReadonlyMap<string, HookRun>;
  /** Bundles whose sync is under way or came to its end: name → content and how far. */
  readonly syncs: ReadonlyMap<string, SyncMark>;
  /** What bundles ask to be run when they are removed, by name. */
  readonly farewells: ReadonlyMap<string, FarewellMark>;
  readonly spent: SpentBudget;
  /** Corrections lately, by object. */
  readonly heals: ReadonlyMap<ObjectKey, readonly Correction[]>;
}

/** What was pruned without approval for a revision, or is about to be, by bundle: marks as spentMark gives them. */
export interface SpentBudget {
  readonly revision: string;
  readonly byBundle: Map<string, Set<string>>;
}

export interface SyncMark {
  /** Digest of the bundle. */
  readonly token: string;
  readonly state: "begun" | "done";
}

const fleetAnnotation = "flotilla.dev/order-of";

/** One ConfigMap per fleet that uses hooks, stages or windows, pruned something or corrected it lately. What is the same as before is not written. */
export class OrderStore {
  readonly #objects: StateObjects;
  readonly #written = new Map<string, string>();

  constructor(objects: StateObjects) {
    this.#objects = objects;
  }

  /** Everything kept; what cannot be read is given as the error that says why: hooks that ran must not run again for it. */
  async load(): Promise<Map<string, OrderMemory | KubeError>> {
    const found = new Map<string, OrderMemory | KubeError>();
    for (const { metadata, data } of await this.#objects.list("ConfigMap", "order", { metadataOnly: false })) {
      const fleet = metadata.annotations?.[fleetAnnotation] ?? "";
      const text = data?.order ?? "";
      try {
        const memory = decode(text, Date.now());
        found.set(fleet, memory);
        // What is too old to count is no reason to write.
        this.#written.set(fleet, encode(memory));
      } catch (cause) {
        found.set(
          fleet,
          new KubeError("unusable", `what is kept of hooks in ConfigMap ${metadata.name} cannot be read: ${(cause as Error).message}`, { cause }),
        );
      }
    }
    return found;
  }

  /** Write what changed. When resolved, a restart finds exactly this. */
  async save(fleet: string, memory: OrderMemory): Promise<void> {
    const text = encode(memory);
    if (text === this.#written.get(fleet) || (text === "" && !this.#written.has(fleet))) return;
    this.#written.delete(fleet);
    await this.#objects.put("ConfigMap", "order", nameOf(fleet), { [fleetAnnotation]: fleet }, { order: text });
    this.#written.set(fleet, text);
  }

  /** What was written is not there any more: the next save writes all of it. */
  forgetWritten(fleet: string): void {
    if (this.#written.has(fleet)) this.#written.set(fleet, "\u0000");
  }

  async remove(fleet: string): Promise<void> {
    if (!this.#written.has(fleet)) return;
    await this.#objects.remove("ConfigMap", nameOf(fleet));
    this.#written.delete(fleet);
  }
}

/** One JSON row a line: [word, key, value]. Every value has a token and a state, which is what earlier versions look for before they pass over a word. */
function encode({ hooks, syncs, farewells, spent, heals }: OrderMemory): string {
  const rows = [
    ...[...hooks].map(([key, run]) => ["hook", key, run]),
    ...[...syncs].map(([bundle, mark]) => ["sync", bundle, mark]),
    ...[...farewells].map(([name, { bundle, token, state, account, hookDeadlineMs, healthChecks }]) => [
      "farewell",
      name,
      { bundle, token, state, account, hookDeadlineMs, healthChecks },
    ]),
    ...[...spent.byBundle].flatMap(([bundle, marks]) =>
      marks.size === 0 ? [] : [["spent", bundle, { token: spent.revision, state: "", marks: [...marks].sort() }]],
    ),
    ...[...heals].map(([key, corrections]) => ["heals", key, { token: "", state: "", corrections }]),
  ];
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .join("\n");
}

function decode(text: string, now: number): OrderMemory {
  const hooks = new Map<string, HookRun>();
  const syncs = new Map<string, SyncMark>();
  const farewells = new Map<string, FarewellMark>();
  const heals = new Map<ObjectKey, readonly Correction[]>();
  let spent: SpentBudget = { revision: "", byBundle: new Map() };
  for (const line of text === "" ? [] : text.split("\n")) {
    const { word, key, value } = decodeRow(line);
    if (word === "hook") hooks.set(key, value as unknown as HookRun);
    else if (word === "sync") syncs.set(key, value as unknown as SyncMark);
    else if (word === "farewell") farewells.set(key, value as unknown as FarewellMark);
    else if (word === "spent") {
      const { token, marks } = value as unknown as { readonly token: string; readonly marks: readonly string[] };
      if (spent.revision !== token) spent = { revision: token, byBundle: new Map() };
      spent.byBundle.set(key, new Set(marks));
    } else if (word === "heals") {
      const recent = recentHeals((value as unknown as { readonly corrections: readonly Correction[] }).corrections, now);
      if (recent.length > 0) heals.set(key, recent);
    }
  }
  return { hooks, syncs, farewells, spent, heals };
}

function decodeRow(line: string): { readonly word: unknown; readonly key: string; readonly value: Record<string, unknown> } {
  const [word, key, value] = JSON.parse(line) as readonly [unknown, unknown, Record<string, unknown>];
  const isList = (name: string) => Array.isArray(value[name]);
  const isWhole =
    typeof key === "string" &&
    typeof value?.token === "string" &&
    typeof value.state === "string" &&
    (word !== "spent" || isList("marks")) &&
    (word !== "heals" || isList("corrections")) &&
    (word !== "farewell" || isList("healthChecks"));
  if (!isWhole) throw new Error(`"${line.slice(0, 80)}" is no row of it`);
  return { word, key, value };
}

function nameOf(fleet: string): string {
  return `flotilla-order-${fleet}`;
}
