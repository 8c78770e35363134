import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type EmbeddedNats, startEmbeddedNats } from "@flotilla/hub/embedded/nats";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@flotilla/hub/embedded/postgres";
import { freePort } from "../harness/free-port.ts";
import { HubApi, HubApiError } from "../harness/hub-api.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { quietLog } from "../harness/quiet-log.ts";
import { startTcpProxy, type TcpProxy } from "../harness/tcp-proxy.ts";

/** The hub or hubs, their servers, and the wires before them. */
export interface Hubs {
  readonly hubs: readonly HubProcess[];
  /** Whatever is asked of any of them. */
  readonly api: HubApi;
  /** Between agents and each hub, and before the broker. */
  readonly wires: { readonly links: readonly TcpProxy[]; readonly broker: TcpProxy };
  readonly encryptionKeyFile: string;
  readonly brokerStore: string;
  readonly postgresStore: string;
  /** What two hubs share, and no hub ends or starts. */
  readonly shared: SharedServers | undefined;
  /** Pid of a server, whoever started it. */
  serverPid(server: "nats" | "postgres"): Promise<number>;
}

export interface SharedServers {
  readonly nats: EmbeddedNats;
  stopPostgres(): Promise<void>;
  /** At the same address. */
  startPostgres(): Promise<void>;
}

export interface HubsOptions {
  /** 1: it has its own Postgres and NATS; 2: they share an external one of each. */
  readonly count: number;
  /** For logs, and for what they and their servers keep. */
  readonly folder: string;
  readonly storeFolder: string;
  readonly seed: number;
  readonly kept: <T extends { stop(): Promise<void> }>(server: T) => T;
}

/** Agents know hubs and broker by this address, where only wires listen; they listen themselves on 127.0.0.1. */
const outside = "127.0.0.2";

const commonArgs = ["--public-address", outside, "--enrol-per-second", "200", "--log-level", "warn"];

export async function startHubs(options: HubsOptions): Promise<Hubs> {
  const { count, folder, storeFolder, seed, kept } = options;
  const wire = async (port: number) => kept(await startTcpProxy({ host: outside, port, target: { host: "127.0.0.1", port }, seed }));
  const pidIn = async (store: string, file: string) => Number.parseInt(await readFile(join(store, file), "utf8"), 10);
  const found = count === 1 ? await startAlone() : await startTogether();
  const links: TcpProxy[] = [];
  for (const { ports } of found.hubs) {
    await wire(ports.enrol);
    links.push(await wire(ports.link));
  }
  const { hubs, broker, brokerStore, postgresStore, shared, encryptionKeyFile } = found;
  return {
    ...{ hubs, brokerStore, postgresStore, shared, encryptionKeyFile },
    api: new AnyHubApi(hubs.map(({ api }) => api)),
    wires: { links, broker },
    serverPid: (server) => (server === "nats" ? pidIn(brokerStore, "nats-server.pid") : pidIn(postgresStore, "postgres.pid")),
  };

  async function startAlone() {
    const dataDir = join(storeFolder, "hub");
    const hub = kept(await startHub({ dataDir, folder, build: "bundle", ownPostgres: true, args: commonArgs }));
    const [brokerStore, postgresStore] = [join(dataDir, "nats"), join(dataDir, "postgres")];
    return {
      ...{ brokerStore, postgresStore, shared: undefined, encryptionKeyFile: join(dataDir, "encryption-key") },
      hubs: [hub],
      broker: await wire(hub.ports.nats),
    };
  }

  async function startTogether() {
    const [brokerStore, postgresStore, encryptionKeyFile] = [join(storeFolder, "nats"), join(storeFolder, "postgres"), join(storeFolder, "key")];
    const port = await freePort();
    const nats = kept(await startEmbeddedNats({ storeDir: brokerStore, port, log: quietLog }));
    const start = () => startEmbeddedPostgres({ dataFolder: postgresStore, log: quietLog });
    let postgres: EmbeddedPostgres | undefined = await start();
    const stopPostgres = async (): Promise<void> => {
      await postgres?.stop();
      postgres = undefined;
    };
    kept({ stop: stopPostgres });
    // The hubs are told the broker's address by which agents reach it: their own way to it can be damaged too.
    const broker = await wire(port);
    const args = [...commonArgs, "--database-url", postgres.url, "--nats-url", `nats://${outside}:${port}`, "--encryption-key-file", encryptionKeyFile];
    const hubs: HubProcess[] = [];
    for (const name of ["hub-a", "hub-b"].slice(0, count))
      hubs.push(kept(await startHub({ name, dataDir: join(storeFolder, name), folder, build: "bundle", args })));
    const startPostgres = async (): Promise<void> => void (postgres ??= await start());
    return { brokerStore, postgresStore, encryptionKeyFile, hubs, broker, shared: { nats, stopPostgres, startPostgres } };
  }
}

/** As a program that knows every hub's address: it asks each in turn, and another where one does not answer. */
class AnyHubApi extends HubApi {
  readonly #apis: readonly HubApi[];
  #next = 0;

  constructor(apis: readonly HubApi[]) {
    super(apis[0]?.url ?? "", apis[0]?.token ?? "");
    this.#apis = apis;
  }

  override async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    let last: unknown;
    this.#next += 1;
    for (const [index] of this.#apis.entries()) {
      const api = this.#apis[(this.#next + index) % this.#apis.length];
      try {
        if (api !== undefined) return await api.request<T>(method, path, body);
      } catch (error) {
        // What a hub refuses another refuses too; one that cannot reach its database is as good as away.
        if (error instanceof HubApiError && error.status < 500) throw error;
        last = error;
      }
    }
    throw last;
  }
}
