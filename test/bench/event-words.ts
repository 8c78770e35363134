/** What a bench of events and its processes say to each other. */

export interface EventMember {
  readonly name: string;
  readonly enrolAddress: string;
  readonly token: string;
  readonly caHash: string;
}

export interface EventCounts {
  /** By cluster: events that its reporter was told. */
  readonly told: Readonly<Record<string, number>>;
  /** Reports that lie in an outbox and that the hub has not confirmed. */
  readonly waiting: number;
  /** Agents that have a link and the broker. */
  readonly connected: number;
  readonly cpuSeconds: number;
}

export type EventQuestion =
  | { readonly ask: "join"; readonly members: readonly EventMember[] }
  /** From now on so many events a second, in all clusters of the process together; 0 for none. */
  | { readonly ask: "tell"; readonly perSecond: number }
  | { readonly ask: "count" }
  | { readonly ask: "stop" };

export interface EventAnswers {
  readonly join: number;
  readonly tell: undefined;
  readonly count: EventCounts;
  readonly stop: undefined;
}
