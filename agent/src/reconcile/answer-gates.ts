import { create } from "@bufbuild/protobuf";
import { type Command, type EndGateCommand, type GateAnswer, GateAnswerSchema, type GateCommand, GateVerdict as Wire } from "@flotilla/proto/gen/link";
import type { KubeClient } from "../cluster/kube-client.ts";
import { queryMetric } from "../cluster/query-metric.ts";
import { deleteGateJob, runGateJob } from "../cluster/run-gate-job.ts";
import type { GateVerdict } from "../domain/judge-samples.ts";
import { gateLimits } from "../limits.ts";
import { Turns } from "./turns.ts";

const verdicts = { passed: Wire.PASSED, failed: Wire.FAILED, unknown: Wire.UNKNOWN } as const;

/** Who suspended a fleet in this cluster, for people; undefined when nobody did. */
export type SuspensionOf = (fleet: string) => string | undefined;

/** Answers what a rollout asks of this cluster, a few gates at a time; the others wait for their turn. */
export class GateAnswers {
  readonly #client: KubeClient;
  readonly #suspensionOf: SuspensionOf;
  readonly #stop = new AbortController();
  /** Those that somebody waits for, by the command's id. */
  readonly #open = new Map<string, { readonly end: AbortController; readonly done: Promise<unknown> }>();
  /** A metric is a matter of seconds: it does not wait for Jobs. */
  readonly #metricTurns = new Turns(gateLimits.atOnce, gateLimits.waiting);
  readonly #jobTurns = new Turns(gateLimits.atOnce, gateLimits.waiting);

  constructor(client: KubeClient, suspensionOf: SuspensionOf) {
    this.#client = client;
    this.#suspensionOf = suspensionOf;
  }

  /** @throws Error when too many wait already, or no turn came in time: the hub takes it as unknown, and asks again. */
  async answer(command: Command, gate: GateCommand): Promise<GateAnswer> {
    const turns = gate.question.case === "job" ? this.#jobTurns : this.#metricTurns;
    const end = new AbortController();
    const done = turns.take(async () => {
      const { verdict, message } = await this.#ask(command.id, gate, AbortSignal.any([this.#stop.signal, end.signal]));
      return create(GateAnswerSchema, { verdict: verdicts[verdict], message: message.slice(0, gateLimits.messageChars) });
    }, gateLimits.turnMs);
    this.#open.set(command.id, { end, done });
    return await done.finally(() => this.#open.delete(command.id));
  }

  /**
   * Ends a gate whose answer nobody waits for any more. Its Job is deleted when what was about to make it has ended; also one that an earlier process made.
   *
   * @throws KubeError when the API server refuses, or does not answer: the Job goes by its own deadline then.
   */
  async end({ commandId, gate, namespace }: EndGateCommand): Promise<void> {
    const open = this.#open.get(commandId);
    open?.end.abort("nobody waits for it any more");
    await open?.done.catch(() => undefined);
    await deleteGateJob(this.#client, commandId, gate, namespace);
  }

  /** What runs is not answered: the hub asks again, and the next process finds the Job. */
  stop(): void {
    this.#stop.abort("the agent stops");
  }

  async #ask(commandId: string, gate: GateCommand, signal: AbortSignal): Promise<GateVerdict> {
    if (signal.aborted) return { verdict: "unknown", message: String(signal.reason) };
    const suspension = this.#suspensionOf(gate.fleet);
    if (suspension !== undefined) return { verdict: "unknown", message: suspension };
    if (gate.question.case === "metric") return queryMetric(gate.question.value, signal);
    if (gate.question.case === "job") return runGateJob(this.#client, commandId, gate, gate.question.value, signal);
    return { verdict: "unknown", message: "this agent is too old for the gate: update it" };
  }
}
