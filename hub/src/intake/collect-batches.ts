export interface BatchBounds {
  readonly itemsMax: number;
  readonly bytesMax: number;
  /** A batch ends when nothing came for `lingerMs`, at the latest after `ms`. */
  readonly lingerMs: number;
  readonly ms: number;
}

/** Items in batches, in order, none empty. Ends or fails as the source does, after what came before. */
export async function* collectBatches<T>(source: AsyncIterable<T>, bounds: BatchBounds, sizeOf: (item: T) => number): AsyncGenerator<readonly T[]> {
  const iterator = source[Symbol.asyncIterator]();
  const ask = (): Promise<IteratorResult<T, unknown>> => {
    const answer = iterator.next();
    // Its failure is met when it is awaited; until then it is not unhandled.
    answer.catch(() => undefined);
    return answer;
  };
  let next = ask();
  for (;;) {
    const first = await next;
    if (first.done === true) return;
    const batch = [first.value];
    let bytes = sizeOf(first.value);
    const deadline = Date.now() + bounds.ms;
    next = ask();
    while (batch.length < bounds.itemsMax && bytes < bounds.bytesMax) {
      const waitMs = Math.min(bounds.lingerMs, deadline - Date.now());
      const item = waitMs <= 0 ? undefined : await within(next, waitMs);
      if (item === undefined || item === "failed" || item.done === true) break;
      batch.push(item.value);
      bytes += sizeOf(item.value);
      next = ask();
    }
    yield batch;
  }
}

function within<T>(promise: Promise<T>, ms: number): Promise<T | "failed" | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    promise.then(
      (value) => (clearTimeout(timer), resolve(value)),
      () => (clearTimeout(timer), resolve("failed")),
    );
  });
}
