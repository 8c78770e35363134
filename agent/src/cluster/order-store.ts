import type { HookRun } from "../domain/hook-run.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObjects } from "./state-objects.ts";

/** What must be remembered of the order of a fleet's bundles. */
export interface OrderMemory {
  /** Newest run of each hook and phase, by hookRunKey. */
  readonly hooks: ReadonlyMap<string, HookRun>;
  /** Bundles whose sync is under way or came to its end: name → content and how far. */
  readonly syncs: ReadonlyMap<string, SyncMark>;
}

export interface SyncMark {
  /** Digest of the bundle. */
  readonly token: string;
  readonly state: "begun" | "done";
}

const fleetAnnotation = "flotilla.dev/order-of";

/** One ConfigMap per fleet that uses hooks, stages or windows. What is the same as before is not written. */
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
        found.set(fleet, decode(text));
        this.#written.set(fleet, text);
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
    if (text === this.#written.get(fleet) || (memory.hooks.size + memory.syncs.size === 0 && !this.#written.has(fleet))) return;
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

/** One JSON row a line: ["hook", …] and ["sync", …]. */
function encode({ hooks, syncs }: OrderMemory): string {
  const hookRows = [...hooks].map(([key, run]) => JSON.stringify(["hook", key, run]));
  const syncRows = [...syncs].map(([bundle, mark]) => JSON.stringify(["sync", bundle, mark]));
  return [...hookRows, ...syncRows].sort().join("\n");
}

function decode(text: string): OrderMemory {
  const hooks = new Map<string, HookRun>();
  const syncs = new Map<string, SyncMark>();
  for (const line of text === "" ? [] : text.split("\n")) {
    const row = JSON.parse(line) as readonly [unknown, unknown, Record<string, unknown>];
    const [word, key, value] = row;
    if (typeof key !== "string" || typeof value?.token !== "string" || typeof value.state !== "string")
      throw new Error(`"${line.slice(0, 80)}" is no row of it`);
    if (word === "hook") hooks.set(key, value as unknown as HookRun);
    else if (word === "sync") syncs.set(key, value as unknown as SyncMark);
  }
  return { hooks, syncs };
}

function nameOf(fleet: string): string {
  return `flotilla-order-${fleet}`;
}
