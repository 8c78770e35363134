/** Who asks for an act: a person or program behind a token. */
export interface Actor {
  /** Id of the API token; "hub" for what a hub does when it starts, "enrolment" for a cluster's enrolment token. */
  readonly id: string;
  /** Address that the request came from; empty where there is none. */
  readonly source: string;
  /** Why, in their own words; empty when they gave no reason. */
  readonly reason: string;
}

/** What is asked for, as the audit log tells it. */
export interface Act {
  /** Noun and verb: "fleet.delete", "cluster.label". */
  readonly act: string;
  readonly fleet?: string;
  readonly cluster?: string;
  /** What else is worth knowing later; never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The hub itself, for acts that a start makes. */
export const hubActor: Actor = { id: "hub", source: "", reason: "" };
