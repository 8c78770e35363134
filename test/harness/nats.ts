import { join } from "node:path";
import { type EmbeddedNats, type EmbeddedNatsOptions, startEmbeddedNats } from "@flotilla/hub/embedded/nats";
import { sendSignal } from "@flotilla/hub/embedded/process-identity";
import { quietLog } from "./quiet-log.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";

export interface TestNats extends EmbeddedNats {
  /** SIGKILL; the supervisor starts it again on the same port and store. */
  kill9(): void;
  /** Stopped, its store thrown away, and started again: a broker that lost everything. */
  wipe(): Promise<void>;
}

/** A nats-server with JetStream. Without `operator` everyone on this host may do everything. */
export async function natsForTests(options: Pick<EmbeddedNatsOptions, "operator" | "tls" | "port"> = {}): Promise<TestNats> {
  const folder = await scratchFolder("nats");
  const storeDir = join(folder, "store");
  let server = await startEmbeddedNats({ ...options, storeDir, log: quietLog });
  const { url, port } = server;
  return {
    url,
    port,
    get pid() {
      return server.pid;
    },
    get couldNotWrite() {
      return server.couldNotWrite;
    },
    reload: (operator) => server.reload(operator),
    restart: () => server.restart(),
    kill9: () => void sendSignal(server.pid, "SIGKILL"),
    async wipe() {
      await server.stop();
      await removeFolder(storeDir);
      server = await startEmbeddedNats({ ...options, port, storeDir, log: quietLog });
    },
    async stop() {
      await server.stop();
      await removeFolder(folder);
    },
  };
}
