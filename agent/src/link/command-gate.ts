import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Command, DryRunResult, GateAnswer } from "@flotilla/proto/gen/link";
import { linkLimits } from "../limits.ts";

/** What was found out, where a command asked something. */
export interface CommandReply {
  readonly gate?: GateAnswer;
  readonly dryRun?: DryRunResult;
}

/** What becomes of a command: "" is success, else why not. */
interface CommandAnswer extends CommandReply {
  readonly error: string;
}

/** Lets each command through once, and none after its time. */
export class CommandGate {
  /** What was answered, by id; undefined when it is being carried out. */
  readonly #answers = new Map<string, CommandAnswer | undefined>();

  /**
   * Carries a command out unless it was before.
   *
   * @returns what to answer; undefined when it is being carried out already.
   */
  async run(command: Command, act: (command: Command) => Promise<CommandReply | void>): Promise<CommandAnswer | undefined> {
    if (this.#answers.has(command.id)) return this.#answers.get(command.id);
    if (command.expiresAt !== undefined && timestampMs(command.expiresAt) < Date.now()) return { error: "the command expired before it arrived" };
    this.#remember(command.id, undefined);
    const answer = await act(command).then(
      (reply): CommandAnswer => ({ error: "", ...reply }),
      (error: unknown): CommandAnswer => ({ error: (error as Error).message || "it failed" }),
    );
    this.#remember(command.id, answer);
    return answer;
  }

  #remember(id: string, answer: CommandAnswer | undefined): void {
    this.#answers.delete(id);
    this.#answers.set(id, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= linkLimits.commandIdsKept) return;
      this.#answers.delete(oldest);
    }
  }
}
