/** What an act is about: a fleet, a cluster, a bundle of a fleet, or one inside the other. "" stands for all. */
export interface ActScope {
  readonly fleet: string;
  readonly cluster: string;
  readonly bundle: string;
}

/** A suspension or an override as an agent is told of it. */
export interface SuspensionRow extends ActScope {
  readonly reason: string;
  /** Who, for people. */
  readonly by: string;
  readonly since: Date;
}

export interface OverrideRow extends SuspensionRow {
  readonly until: Date;
}

/** For people: "fleet shop", "bundle db of fleet shop on cluster berlin-1", "cluster berlin-1". */
export function describeScope({ fleet, cluster, bundle }: ActScope): string {
  const what = bundle === "" ? (fleet === "" ? "" : `fleet ${fleet}`) : `bundle ${bundle} of fleet ${fleet}`;
  if (cluster === "") return what;
  return what === "" ? `cluster ${cluster}` : `${what} on cluster ${cluster}`;
}
