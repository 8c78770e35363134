import type { BrokerMessage } from "@flotilla/hub/intake/decode-report";
import { reportMessageId, reportSubject } from "@flotilla/proto/subjects";
import { Signal, type VirtualTime } from "./virtual-time.ts";

/** What a report is published under. */
interface ReportName {
  readonly cluster: string;
  readonly epoch: string;
  readonly seq: bigint;
  readonly round: number;
}

/** The report stream, and a network before it that loses, doubles, delays and so reorders what is published. */
export class Broker {
  readonly arrived = new Signal();
  /** Creation of the stream: another one is another stream. */
  created = "1";
  lastSeq = 0;
  isAway = false;
  /** Parts of all publishes that fare so, while there is trouble. */
  trouble = { lost: 0, unanswered: 0, doubled: 0, lateMs: 0 };
  readonly #time: VirtualTime;
  #messages: BrokerMessage[] = [];

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  publish({ cluster, epoch, seq, round }: ReportName, content: Uint8Array, answered: (isTaken: boolean) => void): void {
    const { lost, unanswered, doubled, lateMs } = this.trouble;
    const { random } = this.#time;
    const message = { subject: reportSubject(cluster), content, messageId: reportMessageId(cluster, epoch, seq, round) };
    const isLost = random() < lost;
    const lateBy = random() < 0.5 ? 0 : lateMs * random();
    const copies = isLost ? 0 : random() < doubled ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) this.#time.after(2 + lateBy + copy * lateMs * random(), () => this.#take(message));
    const isTaken = !isLost && !this.isAway && random() >= unanswered;
    this.#time.after(isTaken ? 4 + lateBy : 2_000, () => answered(isTaken));
  }

  /** Somebody sends what nobody can read. */
  publishPoison(cluster: string): void {
    this.#take({ subject: reportSubject(cluster), content: new Uint8Array([255, 255, 255]), messageId: "" });
  }

  /** Messages after one of the stream, oldest first. */
  readAfter(seq: number, max: number): readonly BrokerMessage[] {
    return this.isAway ? [] : this.#messages.filter(({ streamSeq }) => streamSeq > seq).slice(0, max);
  }

  purge(upTo: number): void {
    this.#messages = this.#messages.filter(({ streamSeq }) => streamSeq > upTo);
  }

  /** The store is lost; a new stream is made in its place. */
  wipe(): void {
    this.#messages = [];
    this.lastSeq = 0;
    this.created = String(Number(this.created) + 1);
  }

  #take(message: Omit<BrokerMessage, "streamSeq">): void {
    if (this.isAway) return;
    this.#messages.push({ ...message, streamSeq: (this.lastSeq += 1) });
    this.arrived.raise();
  }
}
