import { sha256 } from "@flotilla/proto/digest";
import type { PlacedBody } from "@flotilla/hub/domain/place-bundles";

/** One commit: what each bundle says, object by object. */
export interface Revision {
  readonly id: string;
  /** Bundle → key → content. */
  readonly bundles: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** It cannot be read or rendered: nothing of it counts. */
  readonly isBroken: boolean;
  /** Applied, its objects fail. */
  readonly isSick: boolean;
}

/** A body as agents get it. */
export interface Body extends PlacedBody {
  readonly objects: ReadonlyMap<string, string>;
}

/** Bodies by digest: what the hub's database and the agents' stores hold. */
export type Bodies = Map<string, ReadonlyMap<string, string>>;

/** The repository of one fleet: commits, force pushes, and what its bundles render to for each kind of cluster. */
export class GitHistory {
  readonly fleet: string;
  readonly all = new Map<string, Revision>();
  readonly #library: Bodies;
  readonly #rendered = new Map<string, Body>();
  #head: Revision;
  #commits = 0;
  isAway = false;

  constructor(fleet: string, bundles: Revision["bundles"], library: Bodies) {
    this.fleet = fleet;
    this.#library = library;
    this.#head = this.#keep(bundles, false, false);
  }

  get head(): Revision {
    return this.#head;
  }

  commit(bundles: Revision["bundles"], { isBroken = false, isSick = false } = {}): void {
    this.#head = this.#keep(bundles, isBroken, isSick);
  }

  /** History is rewritten: the branch stands at an old commit again, or at one that nobody saw. */
  forcePush(to: Revision): void {
    this.#head = to;
  }

  revision(id: string): Revision {
    const found = this.all.get(id);
    if (found === undefined) throw new Error(`no commit ${id} of ${this.fleet}`);
    return found;
  }

  /** What a bundle renders to; undefined when it cannot be rendered, or to nothing. */
  bodyOf(id: string, bundle: string, environment: string): Body | undefined {
    const revision = this.all.get(id);
    const objects = revision?.bundles.get(bundle);
    if (revision === undefined || revision.isBroken || objects === undefined || objects.size === 0) return undefined;
    const cacheKey = `${id} ${bundle} ${environment}`;
    const cached = this.#rendered.get(cacheKey);
    if (cached) return cached;
    const rendered = new Map([...objects].map(([key, content]) => [key, `${content}@${environment}${revision.isSick ? "!" : ""}`]));
    const text = JSON.stringify([...rendered]);
    const body = { digest: sha256(text), objectCount: rendered.size, bodyBytes: text.length, objectIds: [...rendered.keys()].sort(), objects: rendered };
    this.#rendered.set(cacheKey, body);
    this.#library.set(body.digest, rendered);
    return body;
  }

  #keep(of: Revision["bundles"], isBroken: boolean, isSick: boolean): Revision {
    const id = sha256(`${this.fleet} ${(this.#commits += 1)}`).slice(0, 40);
    const revision = { id, bundles: of, isBroken, isSick };
    this.all.set(id, revision);
    return revision;
  }
}
