import type { Target } from "@flotilla/proto/gen/target";

/** A report that an agent recorded, with the mark of the event in it. */
export interface RecordedReport {
  readonly epoch: string;
  readonly seq: bigint;
  readonly mark: string;
  readonly at: number;
}

/** A target that an agent made its own. */
export interface FollowedTarget {
  readonly at: number;
  readonly cluster: string;
  readonly target: Target;
  readonly keys: ReadonlySet<string>;
}

/** An object that an agent deleted. */
export interface Deletion {
  readonly at: number;
  readonly cluster: string;
  readonly fleet: string;
  readonly key: string;
  readonly uid: string;
  readonly owner: string | undefined;
  /** Digest of the list that a person approved and of which it is; "" when nobody did. */
  readonly approval: string;
  /** Objects of the fleet in the cluster at the time, this one among them. */
  readonly inventorySize: number;
}

/** A target that the hub released. */
export interface ReleasedRow {
  readonly fleet: string;
  readonly cluster: string;
  readonly generation: bigint;
  readonly revision: string;
  readonly environment: string;
  readonly digest: string;
  readonly bundles: readonly { readonly name: string; readonly digest: string }[];
  readonly tombstone: "orphan" | "delete" | null;
}

/** Everything that happened in a run, for the validators. */
export class History {
  /** By cluster. */
  readonly recorded = new Map<string, RecordedReport[]>();
  /** Epochs whose disk was taken away: what was not delivered went with it. */
  readonly lostEpochs = new Set<string>();
  readonly followed: FollowedTarget[] = [];
  readonly deletions: Deletion[] = [];
  readonly corrections: { readonly at: number; readonly cluster: string; readonly fleet: string; readonly key: string }[] = [];
  readonly agentDeaths: { readonly at: number; readonly cluster: string }[] = [];
  readonly released: ReleasedRow[] = [];
  readonly approvals: {
    readonly fleet: string;
    readonly cluster: string;
    readonly revision: string;
    readonly digest: string;
    readonly keys: readonly string[];
  }[] = [];
  /** Writes that the API answered, by their number; those that a restored backup forgot are taken out. */
  answered: { readonly cluster: string; readonly write: number }[] = [];
  /** What happened, for whoever reads a failing seed. */
  readonly told: string[] = [];
  /** What was done to the system, counted by its name. */
  readonly faults = new Map<string, number>();

  record(cluster: string, report: RecordedReport): void {
    const known = this.recorded.get(cluster);
    if (known) known.push(report);
    else this.recorded.set(cluster, [report]);
  }

  tell(at: number, text: string): void {
    this.told.push(`${((at - 1_700_000_000_000) / 1_000).toFixed(3)} ${text}`);
  }

  count(fault: string): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }
}

/** A step that the simulation wires wrongly on purpose: the validators must find each. */
export type PlantedBug =
  | "watermark before commit"
  | "position apart from rows"
  | "order of arrival"
  | "what is gone is not told"
  | "follow what is empty"
  | "leave out what cannot be rendered"
  | "no budget"
  | "any approval"
  | "any UID"
  | "forgotten before it is deleted"
  | "answer before commit"
  | "forget corrections"
  | "poison stops all";
