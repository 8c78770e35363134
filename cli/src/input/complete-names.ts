import { connect } from "../connect/hub-flags.ts";
import type { FleetContext } from "../fleet-context.ts";
import { completionRows, completionTimeoutMs } from "../limits.ts";

/** Names of fleets for the shell; nothing when there is no login or no quick answer. */
export async function completeFleets(this: FleetContext, partial: string): Promise<readonly string[]> {
  return complete(this, "/fleets", partial);
}

export async function completeClusters(this: FleetContext, partial: string): Promise<readonly string[]> {
  return complete(this, "/clusters", partial);
}

async function complete(context: FleetContext, path: string, partial: string): Promise<readonly string[]> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(completionTimeoutMs)]);
  try {
    const client = await connect({ ...context, signal }, { hub: undefined, context: undefined });
    const rows = await client.all<{ name: string }>(path, {}, completionRows);
    return rows.map(({ name }) => name).filter((name) => name.startsWith(partial));
  } catch {
    return [];
  }
}
