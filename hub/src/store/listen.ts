import pg from "pg";
import { connectMs, listenCheckMs, listenRetryMaxMs, listenRetryMinMs, notifyBytesMax } from "../limits.ts";
import { silentLog, type StoreLog } from "./store-log.ts";

/**
 * What other replicas said. Both forms are hints: the listener looks at the rows.
 *
 * - `resync: true`: anything may have happened (just connected, or the list was too long to send).
 * - else `payload` is the JSON object given to `notify`.
 */
export type Hint =
  | { readonly channel: string; readonly resync: true; readonly payload: Readonly<Record<string, never>> }
  | { readonly channel: string; readonly resync: false; readonly payload: Readonly<Record<string, unknown>> };

export interface Listener {
  close(): Promise<void>;
}

/**
 * Listens on channels over a connection of its own, for ever: a lost one is made again (backoff to 5 s), and a silent one is
 * found by asking. `onHint` gets a resync per channel after every connect, the first too, because what was said before
 * nobody heard. `source` is a URL or a pool made by openPool.
 */
export function listen(source: string | pg.Pool, channel: string | readonly string[], onHint: (hint: Hint) => void, log: StoreLog = silentLog): Listener {
  const url = typeof source === "string" ? source : source.options.connectionString;
  const channels = typeof channel === "string" ? [channel] : channel;
  const stopped = new AbortController();
  const done = keepListening({ url, channels, onHint, log, signal: stopped.signal });
  return {
    async close() {
      stopped.abort();
      await done;
    },
  };
}

interface Listening {
  readonly url: string | undefined;
  readonly channels: readonly string[];
  readonly onHint: (hint: Hint) => void;
  readonly log: StoreLog;
  readonly signal: AbortSignal;
}

async function keepListening(listening: Listening): Promise<void> {
  let waitMs = listenRetryMinMs;
  while (!listening.signal.aborted) {
    const connected = await listenOnce(listening);
    waitMs = connected ? listenRetryMinMs : Math.min(waitMs * 2, listenRetryMaxMs);
    await pause(waitMs * (0.5 + Math.random() / 2), listening.signal);
  }
}

/** One connection's life. Resolves when it ended; true when it had been made. */
async function listenOnce({ url, channels, onHint, log, signal }: Listening): Promise<boolean> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "flotilla-hub listener",
    keepAlive: true,
    connectionTimeoutMillis: connectMs,
    query_timeout: connectMs,
  });
  const ended = new Promise<void>((resolve) => {
    client.once("end", resolve);
    client.on("error", () => resolve());
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  let check: NodeJS.Timeout | undefined;
  try {
    await client.connect();
    client.on("notification", ({ channel, payload }) => onHint(readHint(channel, payload)));
    for (const channel of channels) await client.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    for (const channel of channels) onHint({ channel, resync: true, payload: {} });
    // A peer that vanished sends nothing: the question's timeout tells.
    check = setInterval(() => void client.query("SELECT 1").catch(() => client.end().catch(() => undefined)), listenCheckMs);
    await ended;
    return true;
  } catch (error) {
    if (!signal.aborted) log.warn({ error: (error as Error).message, channels }, "cannot listen on Postgres; trying again");
    return false;
  } finally {
    clearInterval(check);
    await Promise.race([client.end().catch(() => undefined), pause(1_000, undefined)]);
  }
}

function readHint(channel: string, text: string | undefined): Hint {
  try {
    const payload: unknown = JSON.parse(text ?? "");
    if (typeof payload === "object" && payload !== null && !Array.isArray(payload) && (payload as { all?: unknown }).all !== true) {
      return { channel, resync: false, payload: payload as Record<string, unknown> };
    }
  } catch {
    // Somebody's own NOTIFY: look at everything.
  }
  return { channel, resync: true, payload: {} };
}

/**
 * Tells the other replicas, when the transaction commits. A payload beyond 7,900 bytes (Postgres refuses 8,000) becomes
 * {all: true}, which listeners hear as a resync.
 */
export async function notify(client: pg.Pool | pg.ClientBase, channel: string, payload: Readonly<Record<string, unknown>>): Promise<void> {
  const text = JSON.stringify(payload);
  const fits = Buffer.byteLength(text) <= notifyBytesMax;
  await client.query({ name: "notify", text: "SELECT pg_notify($1, $2)", values: [channel, fits ? text : '{"all":true}'] });
}

/** The names in one list of a hint's payload, e.g. `clusters`. */
export function namesIn(hint: Hint, list: string): readonly string[] {
  const names = (hint.payload as Record<string, unknown>)[list];
  return Array.isArray(names) ? names.filter((name): name is string => typeof name === "string") : [];
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
