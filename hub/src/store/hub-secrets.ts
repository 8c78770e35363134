import type pg from "pg";
import type { Sealing } from "./sealing.ts";

/** The hub's own secrets (CA key, broker keys), sealed in hub_secrets; the same for all replicas. */
export function openHubSecrets(pool: pg.Pool, sealing: Sealing) {
  const load = async (name: string): Promise<string | undefined> => {
    const { rows } = await pool.query<{ sealed_value: Buffer }>("SELECT sealed_value FROM hub_secrets WHERE name = $1", [name]);
    return rows[0] && sealing.open(rows[0].sealed_value).toString("utf8");
  };
  return {
    load,
    /** The value that is kept: the first one given. */
    async createOnce(name: string, value: string): Promise<string> {
      await pool.query("INSERT INTO hub_secrets (name, sealed_value) VALUES ($1, $2) ON CONFLICT DO NOTHING", [name, sealing.seal(value)]);
      return (await load(name)) ?? value;
    },
  };
}
