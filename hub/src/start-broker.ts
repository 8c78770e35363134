import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, type NatsConnection, type TlsOptions } from "@nats-io/transport-node";
import type { Logger } from "pino";
import type { HubConfig } from "./config.ts";
import { startEmbeddedNats } from "./embedded/nats.ts";
import { type BrokerIdentity, openBrokerIdentity, readBrokerIdentity } from "./stream/broker-identity.ts";
import type { Authorities } from "./stream/authorities.ts";
import type { HubSecrets } from "./stream/hub-secrets.ts";
import { startClaimsPusher } from "./stream/push-broker-claims.ts";

export interface Broker {
  readonly connection: NatsConnection;
  readonly identity: BrokerIdentity;
  /** As agents reach it. */
  readonly urls: readonly string[];
  /** PEM, as it is now; "" for plain NATS on loopback and for certificates that the system trusts. */
  readonly ca: string;
  /** Something was revoked: push the account again. */
  onRevoked(): void;
  /** Its server could not write, and takes no message again until it was started anew. Never of a server that was given. */
  readonly couldNotWrite: boolean;
  /** The disk was full and is not any more: the server is started anew. Nothing for a server that was given. */
  onDiskRoom(): void;
  /** The hub's own connection; before the store it writes to. */
  close(): Promise<void>;
}

export interface BrokerOptions {
  readonly config: HubConfig;
  readonly authorities: Authorities;
  readonly secrets: HubSecrets;
  readRevoked(): Promise<readonly { readonly publicKey: string; readonly revokedAt: Date }[]>;
  readonly log: Logger;
}

/** The broker: an embedded nats-server in the data folder, or the one that was given. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { config, log, readRevoked } = options;
  const identity = config.natsCreds === undefined ? await openBrokerIdentity(options.secrets) : await readBrokerIdentity(config.natsCreds);
  const server = config.natsUrl === undefined ? await startServer(options, identity) : undefined;
  const servers = server?.servers ?? (config.natsUrl ?? "").split(",");
  const tls = server?.tls;
  const connection = await connect({
    servers: [...servers],
    name: "flotilla-hub",
    authenticator: identity.hubAuthenticator(),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    waitOnFirstConnect: true,
    ...(tls === undefined ? {} : { tls }),
  });
  const pusher = startClaimsPusher({
    identity,
    servers,
    ...(tls === undefined ? {} : { tls }),
    readRevoked,
    ...(server === undefined ? {} : { onClaims: (operator) => server.reload(operator) }),
    log,
  });
  return {
    connection,
    identity,
    urls: server?.agentUrls ?? servers,
    get ca() {
      return server?.ca ?? "";
    },
    onRevoked: () => pusher.hint(),
    get couldNotWrite() {
      return server?.couldNotWrite ?? false;
    },
    onDiskRoom: () => server?.restart(),
    async close() {
      await pusher.close();
      await connection.close().catch(() => undefined);
      await server?.stop();
    },
  };
}

const brokerCertificateRenewMs = 24 * 3_600_000;

interface OwnServer {
  readonly servers: readonly string[];
  readonly agentUrls: readonly string[];
  readonly ca: string;
  readonly tls: TlsOptions | undefined;
  readonly couldNotWrite: boolean;
  restart(): void;
  reload(operator: { jwt: string; accounts: readonly { id: string; jwt: string }[]; systemAccountId: string }): Promise<void>;
  stop(): Promise<void>;
}

async function startServer({ config, authorities, readRevoked, log }: BrokerOptions, identity: BrokerIdentity): Promise<OwnServer> {
  const { host, port } = config.natsListen;
  await waitUntilFree(host, port);
  const storeDir = join(config.dataDir, "nats");
  const operator = await identity.operator?.claims(await readRevoked());
  const certify = () => writeCertificate(storeDir, authorities, [config.publicAddress, "localhost", nearHost(host)]);
  const tls = isLoopback(host) ? undefined : await certify();
  const server = await startEmbeddedNats({ storeDir, log, host, port, ...(operator === undefined ? {} : { operator }), ...(tls === undefined ? {} : { tls }) });
  let claims = operator;
  let signer = authorities.active;
  // Connections that are open stay so: nats-server takes the new files for those that come.
  const renew = () => {
    if (tls === undefined || claims === undefined) return;
    signer = authorities.active;
    void certify()
      .then(() => claims && server.reload(claims))
      .catch((error: unknown) => log.error({ err: error }, "the broker's certificate could not be renewed"));
  };
  const renewing = setInterval(renew, brokerCertificateRenewMs);
  renewing.unref();
  const forget = authorities.onChange(() => {
    if (authorities.active !== signer) renew();
  });
  const scheme = tls === undefined ? "nats" : "tls";
  return {
    servers: [`${scheme}://${inUrl(nearHost(host))}:${server.port}`],
    agentUrls: [`${scheme}://${config.publicAddress}:${server.port}`],
    get ca() {
      return tls === undefined ? "" : authorities.bundlePem;
    },
    // Read at each connection: a CA that changed meanwhile is trusted by the next one.
    tls:
      tls === undefined
        ? undefined
        : {
            get ca() {
              return authorities.bundlePem;
            },
          },
    get couldNotWrite() {
      return server.couldNotWrite;
    },
    restart: () => server.restart(),
    async reload(changed) {
      claims = { ...changed, accounts: [...changed.accounts] };
      await server.reload(changed);
    },
    async stop() {
      forget();
      clearInterval(renewing);
      await server.stop();
    },
  };
}

/** Made anew at every start, every day after, and when another CA signs. */
async function writeCertificate(folder: string, { active }: Authorities, names: readonly string[]): Promise<{ certFile: string; keyFile: string }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const files = { certFile: join(folder, "server.crt"), keyFile: join(folder, "server.key") };
  const { chainPem, keyPem } = await active.issueServer(names);
  await writeFile(files.certFile, chainPem);
  await writeFile(files.keyFile, keyPem, { mode: 0o600 });
  return files;
}

/** Whether nobody outside this machine can reach a listener there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\./.test(host);
}

/** How this machine reaches a listener there: who listens on one address of a network is not to be found on localhost. */
export function nearHost(host: string): string {
  return isLoopback(host) || host === "0.0.0.0" || host === "::" ? "localhost" : host;
}

export const inUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host);

/** How long a nats-server that a killed hub left behind may take to end. */
const portWaitMs = 10_000;

/**
 * Waits until nobody listens there.
 *
 * @throws Error that names the flag, when somebody else keeps it.
 */
async function waitUntilFree(host: string, port: number): Promise<void> {
  const deadline = Date.now() + portWaitMs;
  while (port !== 0 && !(await isFree(host, port))) {
    if (Date.now() >= deadline)
      throw new Error(`the hub's nats-server cannot listen on ${host}:${port}: something else does; give another address with --nats-listen HOST:PORT`);
    await delay(250);
  }
}

async function isFree(host: string, port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", (error) => resolve((error as NodeJS.ErrnoException).code !== "EADDRINUSE"));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}
