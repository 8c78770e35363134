import type { HubClient } from "../hub-client.ts";

/**
 * Nothing found for a name may mean that there is no such name. Asked only then: what is kept of a deleted fleet or a removed
 * cluster can still be read.
 *
 * @throws FleetError naming the fleet or cluster that is not there.
 */
export async function checkFilters(
  client: HubClient,
  found: readonly unknown[],
  filters: { readonly fleet: string | undefined; readonly cluster: string | undefined },
): Promise<void> {
  if (found.length > 0) return;
  if (filters.fleet !== undefined) await client.fleet(filters.fleet);
  if (filters.cluster !== undefined) await client.cluster(filters.cluster);
}
