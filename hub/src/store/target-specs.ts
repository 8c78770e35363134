import type pg from "pg";
import type { TargetBundle } from "../domain/target.ts";

type Bundles = readonly TargetBundle[];

/** What targets are made of, once for all clusters that get the same. One that upkeep might be about to drop is young again. */
export async function saveSpecs(client: pg.ClientBase, placed: readonly { readonly digest: string; readonly bundles: Bundles }[]): Promise<void> {
  const specs = new Map(placed.map(({ digest, bundles }) => [digest, bundles]));
  await client.query({
    name: "save-target-specs",
    text: `INSERT INTO target_specs (digest, bundles) SELECT * FROM unnest($1::text[], $2::jsonb[]) AS r (digest, bundles) ORDER BY digest
           ON CONFLICT (digest) DO UPDATE SET created_at = now() WHERE target_specs.created_at < now() - interval '1 hour'`,
    values: [[...specs.keys()], [...specs.values()].map((bundles) => JSON.stringify(bundles))],
  });
}

/** Each is read once, whatever the number of clusters that have it; whoever gets it shares it. Digests that are not there are left out. */
export async function readSpecs(client: pg.ClientBase | pg.Pool, digests: Iterable<string>): Promise<Map<string, Bundles>> {
  const wanted = [...new Set(digests)];
  if (wanted.length === 0) return new Map();
  const { rows } = await client.query<{ digest: string; bundles: Bundles }>({
    name: "read-target-specs",
    text: "SELECT digest, bundles FROM target_specs WHERE digest = ANY($1::text[])",
    values: [wanted],
  });
  return new Map(rows.map(({ digest, bundles }) => [digest, bundles]));
}

/** readSpecs that remembers the last `most` of them. */
export class SpecMemory {
  readonly #pool: pg.Pool;
  readonly #most: number;
  readonly #known = new Map<string, Bundles>();

  constructor(pool: pg.Pool, most: number) {
    this.#pool = pool;
    this.#most = most;
  }

  async read(digests: Iterable<string>): Promise<ReadonlyMap<string, Bundles>> {
    const wanted = new Set(digests);
    const found = new Map<string, Bundles>();
    for (const digest of wanted) {
      const bundles = this.#known.get(digest);
      if (bundles !== undefined) found.set(digest, bundles);
    }
    const rest = [...wanted].filter((digest) => !found.has(digest));
    for (const [digest, bundles] of await readSpecs(this.#pool, rest)) {
      found.set(digest, bundles);
      this.#known.set(digest, bundles);
      const [oldest] = this.#known.keys();
      if (this.#known.size > this.#most && oldest !== undefined) this.#known.delete(oldest);
    }
    return found;
  }
}
