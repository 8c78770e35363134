import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "./random.ts";

export interface TcpProxyOptions {
  target: { host: string; port: number };
  /** Listens here, an address of loopback; 127.0.0.1 when left out. */
  host?: string;
  /** 0 or nothing picks a free port. */
  port?: number;
  /** The same seed gives the same latencies. */
  seed?: number;
}

/** A wire that a test can damage. What is set holds for open and for new connections. */
export interface TcpProxy {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Delays every piece by latency ± jitter, in order. */
  slowDown(latencyMs: number, jitterMs?: number): void;
  /** Bytes per second in each direction and connection; undefined takes the limit away. */
  limitRate(bytesPerSecond: number | undefined): void;
  /** Accepts and keeps connections, and passes nothing: a peer that died without a word. */
  hold(): void;
  /** Those who are connected now pass nothing any more, without a word; new connections work. */
  freeze(): void;
  /** RST to everyone who is connected; new connections work. */
  reset(): void;
  /** RST to everyone, new connections are refused by RST as well. */
  cutOff(): void;
  /** Ends every connection after it passed that many bytes to the client. */
  cutAfter(bytes: number | undefined): void;
  /** Everything passes again; what `hold` held back is delivered. */
  heal(): void;
  stop(): Promise<void>;
}

/** One connection that passes nothing any more. */
interface Frozen {
  is: boolean;
}

interface Fault {
  latencyMs: number;
  jitterMs: number;
  bytesPerSecond: number | undefined;
  cutAfterBytes: number | undefined;
  held: Promise<void> | undefined;
  release: () => void;
  refuses: boolean;
}

export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const random = seededRandom(options.seed ?? 1);
  const open = new Set<Socket>();
  const fault: Fault = {
    latencyMs: 0,
    jitterMs: 0,
    bytesPerSecond: undefined,
    cutAfterBytes: undefined,
    held: undefined,
    release: () => undefined,
    refuses: false,
  };
  const freezes = new Set<Frozen>();
  const server = createServer({ noDelay: true }, (client) => {
    if (fault.refuses) return void client.resetAndDestroy();
    const upstream = connect({ ...options.target, noDelay: true });
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => open.delete(socket));
    }
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => void untilFree(fault).then(() => client.destroy()));
    const frozen = { is: false };
    freezes.add(frozen);
    client.once("close", () => freezes.delete(frozen));
    void pass(client, upstream, fault, frozen, random, false);
    void pass(upstream, client, fault, frozen, random, true);
  });
  const host = options.host ?? "127.0.0.1";
  server.listen(options.port ?? 0, host);
  await once(server, "listening");
  const resetAll = () => {
    for (const socket of open) socket.resetAndDestroy();
  };
  const letGo = () => {
    fault.held = undefined;
    fault.release();
  };
  return {
    host,
    port: (server.address() as AddressInfo).port,
    get connections() {
      return open.size / 2;
    },
    slowDown(latencyMs, jitterMs = 0) {
      Object.assign(fault, { latencyMs, jitterMs });
    },
    limitRate(bytesPerSecond) {
      fault.bytesPerSecond = bytesPerSecond;
    },
    hold() {
      fault.held ??= new Promise((resolve) => {
        fault.release = resolve;
      });
    },
    freeze() {
      for (const frozen of freezes) frozen.is = true;
    },
    reset: resetAll,
    cutOff() {
      fault.refuses = true;
      resetAll();
    },
    cutAfter(bytes) {
      fault.cutAfterBytes = bytes;
    },
    heal() {
      Object.assign(fault, { latencyMs: 0, jitterMs: 0, bytesPerSecond: undefined, cutAfterBytes: undefined, refuses: false });
      letGo();
    },
    async stop() {
      const closed = once(server, "close");
      server.close();
      letGo();
      resetAll();
      await closed;
    },
  };
}

/** One direction of one connection, piece by piece: order is kept, and a slow reader slows the writer. */
async function pass(from: Socket, to: Socket, fault: Fault, frozen: Frozen, random: () => number, countsForCut: boolean): Promise<void> {
  let passed = 0;
  try {
    for await (const piece of from as AsyncIterable<Buffer>) {
      await untilFree(fault);
      if (fault.latencyMs > 0) await delay(Math.max(0, fault.latencyMs + (random() * 2 - 1) * fault.jitterMs));
      if (fault.bytesPerSecond) await delay((piece.length / fault.bytesPerSecond) * 1_000);
      await untilFree(fault);
      if (frozen.is) continue;
      const limit = countsForCut ? fault.cutAfterBytes : undefined;
      if (limit !== undefined && passed + piece.length > limit) {
        to.write(piece.subarray(0, Math.max(0, limit - passed)), () => to.resetAndDestroy());
        from.resetAndDestroy();
        return;
      }
      passed += piece.length;
      if (!to.write(piece)) await Promise.race([once(to, "drain"), once(to, "close")]);
      if (to.destroyed) return;
    }
    await untilFree(fault);
    if (!frozen.is) to.end();
  } catch {
    to.destroy();
  }
}

async function untilFree(fault: Fault): Promise<void> {
  while (fault.held) await fault.held;
}
