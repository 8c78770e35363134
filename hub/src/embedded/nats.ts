import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { natsMemoryStoreBytesMax, natsPayloadBytesMax, natsReadyMs, natsStoreBytesMax, readyPollMs } from "../limits.ts";
import { claimFolder } from "./claim-folder.ts";
import { startOnFreePort } from "./free-port.ts";
import { sendSignal } from "./process-identity.ts";
import { endLeftover, type ServerLog, superviseChild } from "./supervised-child.ts";
import { findTool } from "./tools.ts";

/** An account by its public nkey (A…) and its JWT. */
export interface BrokerAccount {
  id: string;
  jwt: string;
}

export interface EmbeddedNatsOptions {
  /** JetStream's store, the configuration and the pid file; kept between runs. */
  storeDir: string;
  log: ServerLog;
  /** Operator mode: only users signed by these accounts get in. Without it (tests) anyone on the host does. */
  operator?: { jwt: string; accounts: readonly BrokerAccount[]; systemAccountId?: string };
  /** Default 127.0.0.1. */
  host?: string;
  /** Default: the port of the last run while it is free, else a free one. */
  port?: number;
  tls?: { certFile: string; keyFile: string };
}

export interface EmbeddedNats {
  /** `nats://host:port` or `tls://host:port`; stays the same until `stop`. */
  readonly url: string;
  readonly port: number;
  /** Changes when the server had to be started again. */
  readonly pid: number;
  /** A write failed since it was started: its stream takes nothing any more, also when there is room, until it is started anew. */
  readonly couldNotWrite: boolean;
  /** Takes other account JWTs (revocations) without a restart. */
  reload(operator: NonNullable<EmbeddedNatsOptions["operator"]>): Promise<void>;
  /** Ends the server; it is started again on the same port and store. */
  restart(): void;
  stop(): Promise<void>;
}

/** What nats-server says when it gives a stream up. Nothing in its API tells: publishers wait in vain. */
const writeError = "critical write error";

/**
 * Runs nats-server with JetStream as a child that ends with this process and is started again, on the same port and
 * store, when it dies. No WebSocket, MQTT, leaf nodes or monitoring: their listeners are not in the configuration.
 */
export async function startEmbeddedNats(options: EmbeddedNatsOptions): Promise<EmbeddedNats> {
  const program = await findTool("nats-server");
  const { storeDir, log, host = "127.0.0.1" } = options;
  const claim = await claimFolder(storeDir);
  try {
    await mkdir(join(storeDir, "jetstream"), { recursive: true, mode: 0o700 });
    const server = { name: "nats-server", pidFile: join(storeDir, "nats-server.pid"), stopSignal: "TERM", log } as const;
    await endLeftover(server);
    const portFile = join(storeDir, "port");
    const configFile = join(storeDir, "nats-server.conf");
    const name = `flotilla-${randomUUID()}`;
    let operator = options.operator;
    let couldNotWrite = false;
    const writeConfig = (port: number) => replaceFile(configFile, natsConfig({ ...options, name, host, port, operator }));
    const start = async (port: number) => {
      await writeFile(portFile, String(port));
      return superviseChild({
        ...server,
        onLine(line) {
          couldNotWrite ||= line.includes(writeError);
        },
        ready: (signal) => untilGreeting(name, host, port, signal),
        async command() {
          couldNotWrite = false;
          await writeConfig(port);
          return { file: program, args: ["--config", configFile], env: { PATH: process.env.PATH } };
        },
      });
    };
    const given = options.port;
    const { port, server: child } = given ? { port: given, server: await start(given) } : await startOnFreePort(host, await readPort(portFile), start);
    return {
      url: `${options.tls ? "tls" : "nats"}://${host}:${port}`,
      port,
      get pid() {
        return child.pid;
      },
      get couldNotWrite() {
        return couldNotWrite;
      },
      async reload(next) {
        operator = next;
        await writeConfig(port);
        sendSignal(child.pid, "SIGHUP");
      },
      restart: () => void sendSignal(child.pid, "SIGTERM"),
      async stop() {
        await child.stop();
        await claim.release();
      },
    };
  } catch (error) {
    await claim.release();
    throw error;
  }
}

interface NatsConfig {
  /** How the server greets: tells ours from a stranger on the port. */
  name: string;
  host: string;
  port: number;
  storeDir: string;
  operator?: EmbeddedNatsOptions["operator"];
  tls?: { certFile: string; keyFile: string } | undefined;
}

/** The server's configuration file. Throws on a key or token that could end its line in the file. */
export function natsConfig(config: NatsConfig): string {
  const lines = [
    `listen: ${quoted(`${config.host}:${config.port}`)}`,
    `server_name: ${quoted(config.name)}`,
    `max_payload: ${natsPayloadBytesMax}`,
    "jetstream {",
    `  store_dir: ${quoted(join(config.storeDir, "jetstream"))}`,
    `  max_memory_store: ${natsMemoryStoreBytesMax}`,
    `  max_file_store: ${natsStoreBytesMax}`,
    "}",
  ];
  if (config.tls) lines.push("tls {", `  cert_file: ${quoted(config.tls.certFile)}`, `  key_file: ${quoted(config.tls.keyFile)}`, "}");
  if (config.operator) lines.push(...operatorLines(config.operator));
  return `${lines.join("\n")}\n`;
}

function operatorLines(operator: NonNullable<EmbeddedNatsOptions["operator"]>): string[] {
  return [
    `operator: ${checked(operator.jwt, jwtShape, "operator JWT")}`,
    ...(operator.systemAccountId ? [`system_account: ${checked(operator.systemAccountId, accountShape, "account id")}`] : []),
    "resolver: MEMORY",
    "resolver_preload {",
    ...operator.accounts.map(({ id, jwt }) => `  ${checked(id, accountShape, "account id")}: ${checked(jwt, jwtShape, "account JWT")}`),
    "}",
  ];
}

const jwtShape = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const accountShape = /^A[A-Z2-7]{55}$/;

function checked(value: string, shape: RegExp, what: string): string {
  if (!shape.test(value)) throw new Error(`not a valid ${what} for nats-server`);
  return value;
}

/** A string of the configuration language; its escapes are JSON's. */
function quoted(value: string): string {
  if (/[\n\r\0]/.test(value)) throw new Error("a path or host for nats-server holds a line break");
  return JSON.stringify(value);
}

/** The server says INFO with its name as soon as it listens; with JetStream that is after its store was recovered. */
async function untilGreeting(name: string, host: string, port: number, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + natsReadyMs;
  while (!(await greets(name, host, port))) {
    if (signal.aborted) throw new Error("nats-server ended");
    if (Date.now() > deadline) throw new Error(`no answer on ${host}:${port} within ${natsReadyMs} ms`);
    await delay(readyPollMs);
  }
}

function greets(name: string, host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: host === "0.0.0.0" ? "127.0.0.1" : host, port });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => done(false));
    socket.once("error", () => done(false));
    socket.once("close", () => done(false));
    socket.once("data", (bytes) => done(bytes.toString("latin1").startsWith("INFO ") && bytes.includes(JSON.stringify(name))));
  });
}

async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text, { mode: 0o600 });
  await rename(`${file}.part`, file);
}

async function readPort(file: string): Promise<number> {
  return Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10) || 0;
}
