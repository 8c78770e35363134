import type { FleetFold } from "../domain/fold-report.ts";

/** One fleet of one cluster in a batch, and what changes there. */
export interface FleetOfCluster {
  readonly cluster: string;
  readonly fleet: string;
  readonly fold: FleetFold;
}
