import { setTimeout as delay } from "node:timers/promises";
import { exitCodes } from "../exit-codes.ts";
import type { FleetContext } from "../fleet-context.ts";
import { FleetError } from "../fleet-error.ts";
import type { HubClient } from "../hub-client.ts";
import { streamRetryMaxMs, streamRetryMinMs } from "../limits.ts";
import { remark } from "../render/print.ts";
import type { StreamMessage } from "./event-stream.ts";

export interface FollowOptions {
  readonly fleet?: string | undefined;
  readonly lastEventId?: string | undefined;
  /** Says nothing about broken connections: something else is drawn on the terminal. */
  readonly quiet?: boolean;
  /** Ends the following, besides the context's own signal. */
  readonly signal?: AbortSignal;
}

/** The hub's stream over all reconnects, resumed where it broke; ends with the signals. Not being allowed ends it with an error. */
export async function* followChanges(context: FleetContext, client: HubClient, options: FollowOptions = {}): AsyncGenerator<StreamMessage> {
  const ended = (): boolean => context.signal.aborted || options.signal?.aborted === true;
  const pause = options.signal ? AbortSignal.any([context.signal, options.signal]) : context.signal;
  let { lastEventId } = options;
  let waitMs = streamRetryMinMs;
  let broken = false;
  while (!ended()) {
    try {
      for await (const message of client.watch({ fleet: options.fleet, lastEventId, signal: options.signal })) {
        if (broken && options.quiet !== true) remark(context, "connected again");
        broken = false;
        waitMs = streamRetryMinMs;
        lastEventId = message.id ?? lastEventId;
        yield message;
        if (ended()) return;
      }
    } catch (error) {
      if (ended()) return;
      if (!(error instanceof FleetError) || error.exitCode !== exitCodes.unreachable) throw error;
      if (!broken && options.quiet !== true) remark(context, `${error.message}; trying again`);
      broken = true;
    }
    await delay(waitMs * (0.5 + Math.random() / 2), undefined, { signal: pause }).catch(() => undefined);
    waitMs = Math.min(waitMs * 2, streamRetryMaxMs);
  }
}
