import type { Target } from "@flotilla/proto/gen/target";
import { Signal, type Program, type VirtualTime } from "./virtual-time.ts";

/** What a hub may do to an agent. */
export interface AgentSide {
  onTarget(target: Target): void;
  onWatermark(epoch: string, seq: bigint, resend: boolean): void;
  onSnapshotCommand(): void;
}

/** One stream between an agent and a hub: in order both ways while it is open, late by what the wire takes, and gone with either end. */
export class Link {
  readonly closed = new Signal();
  readonly cluster: string;
  readonly agent: AgentSide;
  /** How late a message may be. */
  lateMs = 20;
  #isOpen = true;
  /** Half open: nothing arrives, and nobody knows. */
  #isDead = false;
  readonly #time: VirtualTime;
  readonly #toHub: Direction;
  readonly #toAgent: Direction;

  constructor(time: VirtualTime, cluster: string, agent: AgentSide, ends: { readonly agent: Program; readonly hub: Program }) {
    this.cluster = cluster;
    this.agent = agent;
    this.#time = time;
    this.#toHub = { end: ends.hub, waiting: [] };
    this.#toAgent = { end: ends.agent, waiting: [] };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  toHub(act: () => void): void {
    this.#send(this.#toHub, act);
  }

  toAgent(act: () => void): void {
    this.#send(this.#toAgent, act);
  }

  /** Both ends see it end. */
  cut(): void {
    this.#isOpen = false;
    this.closed.raise();
  }

  /** The wire goes dead without a word; a missing heartbeat ends it after half a minute. */
  goDead(): void {
    this.#isDead = true;
    this.#time.after(30_000, () => this.cut());
  }

  #send({ end, waiting }: Direction, act: () => void): void {
    if (!this.#isOpen) return;
    waiting.push(act);
    // Whatever comes first takes the oldest message: a stream keeps its order.
    end.receive(() => {
      const oldest = waiting.shift();
      if (this.#isOpen && !this.#isDead) oldest?.();
    }, this.#time.jittered(this.lateMs));
  }
}

interface Direction {
  readonly end: Program;
  readonly waiting: (() => void)[];
}
