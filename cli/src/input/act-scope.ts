import { exitCodes } from "../exit-codes.ts";
import { FleetError } from "../fleet-error.ts";
import { completeClusters } from "./complete-names.ts";
import { text } from "./parameters.ts";

/** Flags that narrow an act to a cluster or a bundle. */
export const scopeFlags = {
  cluster: {
    kind: "parsed",
    parse: text,
    optional: true,
    placeholder: "CLUSTER",
    brief: "Only on this cluster; without a fleet, all fleets of it",
    proposeCompletions: completeClusters,
  },
  bundle: { kind: "parsed", parse: text, optional: true, placeholder: "BUNDLE", brief: "Only this bundle of the fleet" },
} as const;

export interface ScopeFlags {
  readonly cluster: string | undefined;
  readonly bundle: string | undefined;
}

export interface Scope {
  readonly fleet?: string;
  readonly cluster?: string;
  readonly bundle?: string;
}

/** What an act is about. @throws FleetError when it is about nothing. */
export function scopeOf(fleet: string | undefined, { cluster, bundle }: ScopeFlags): Scope {
  if (fleet === undefined && cluster === undefined) throw new FleetError("it takes a fleet, --cluster, or both", exitCodes.wrongUse);
  if (fleet === undefined && bundle !== undefined)
    throw new FleetError(`--bundle ${bundle} is of no fleet`, exitCodes.wrongUse, { hint: "name the fleet first" });
  return { ...(fleet !== undefined && { fleet }), ...(cluster !== undefined && { cluster }), ...(bundle !== undefined && { bundle }) };
}

/** For people: "fleet shop", "bundle db of fleet shop on cluster berlin-1". */
export function tellScope({ fleet, cluster, bundle }: Scope): string {
  const what = bundle === undefined ? (fleet === undefined ? "" : `fleet ${fleet}`) : `bundle ${bundle} of fleet ${fleet}`;
  if (cluster === undefined) return what;
  return what === "" ? `cluster ${cluster}` : `${what} on cluster ${cluster}`;
}
