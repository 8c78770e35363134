import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "@flotilla/proto/gen/link";
import { linkLimits } from "../limits.ts";

/** Lets each command through once, and none after its time. */
export class CommandGate {
  /** What was answered, by id; "" is success, undefined that it is being carried out. */
  readonly #answers = new Map<string, string | undefined>();

  /**
   * Carries a command out unless it was before.
   *
   * @returns what to answer: "" when it was done, else why not; undefined when it is being carried out already.
   */
  async run(command: Command, act: (command: Command) => Promise<void>): Promise<string | undefined> {
    if (this.#answers.has(command.id)) return this.#answers.get(command.id);
    if (command.expiresAt !== undefined && timestampMs(command.expiresAt) < Date.now())
      return "the command expired before it arrived; look at the clocks of hub and agent if it was new";
    this.#remember(command.id, undefined);
    const answer = await act(command).then(
      () => "",
      (error: unknown) => (error as Error).message || "it failed",
    );
    this.#remember(command.id, answer);
    return answer;
  }

  #remember(id: string, answer: string | undefined): void {
    this.#answers.delete(id);
    this.#answers.set(id, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= linkLimits.commandIdsKept) return;
      this.#answers.delete(oldest);
    }
  }
}
