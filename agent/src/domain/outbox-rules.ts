/** How far the hub has committed an epoch. */
export interface OutboxWatermark {
  readonly epoch: string;
  readonly seq: bigint;
  readonly resend?: boolean;
}

/** Reports firstSeq to seq that the log no longer holds and the hub has not committed. */
export interface Loss {
  readonly firstSeq: bigint;
  readonly seq: bigint;
  readonly events: number;
  readonly reason: string;
}

/** An outbox as its rules look at it. */
export interface OutboxPosition {
  readonly epoch: string;
  /** The newest report; 0 when none ever was. */
  readonly newest: bigint;
  /** What the hub confirmed last; 0 before it said anything. */
  readonly watermark: bigint;
  /** The first report that the log holds; newest + 1 when it holds none. */
  readonly heldFrom: bigint;
  readonly loss: Loss | undefined;
}

/**
 * What a watermark of the hub means.
 * - `foreign`: it is about another epoch, and changes nothing.
 * - `older-copy`: the hub knows reports that the log does not; a new epoch begins.
 * - `taken`: what it covers is forgotten. `owes`: a snapshot is due from now on, and this loss is to be told; `tellsSnapshot`: it may be made now.
 *   `again`: everything after it is to be published once more.
 */
export type WatermarkVerdict =
  | { readonly kind: "foreign" }
  | { readonly kind: "older-copy" }
  | { readonly kind: "taken"; readonly owes: { readonly loss: Loss | undefined } | undefined; readonly tellsSnapshot: boolean; readonly again: boolean };

/** Judge what the hub says of its place in an outbox. Pure. */
export function judgeWatermark(held: OutboxPosition, { epoch, seq, resend = false }: OutboxWatermark): WatermarkVerdict {
  if (epoch !== held.epoch) return { kind: "foreign" };
  if (seq > held.newest) return { kind: "older-copy" };
  const again = resend || seq < held.watermark;
  const { loss, heldFrom } = held;
  // The gap has arrived: now there is room for what it stands for.
  if (loss !== undefined && seq >= loss.seq) return { kind: "taken", owes: { loss: undefined }, tellsSnapshot: true, again };
  if (seq + 1n >= (loss?.firstSeq ?? heldFrom)) return { kind: "taken", owes: undefined, tellsSnapshot: false, again };
  // The hub lost what it had confirmed (a restored backup), or the log was cut while the hub could not be heard.
  const reason = loss?.reason ?? "the hub asked for reports that it had confirmed before";
  return { kind: "taken", owes: { loss: { firstSeq: seq + 1n, seq: heldFrom - 1n, events: loss?.events ?? 0, reason } }, tellsSnapshot: false, again };
}

/** The loss that dropping everything up to a report makes, together with what was lost before; undefined when the hub has all of it. */
export function lossOfDropping({ watermark, heldFrom, loss }: OutboxPosition, upTo: { readonly seq: bigint; readonly events: number }): Loss | undefined {
  if (upTo.seq <= watermark) return undefined;
  const firstSeq = loss?.firstSeq ?? (watermark > 0n ? watermark + 1n : heldFrom);
  return { firstSeq, seq: upTo.seq, events: (loss?.events ?? 0) + upTo.events, reason: "the outbox was full" };
}
