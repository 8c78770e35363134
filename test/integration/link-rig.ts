import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type EnrolOptions, enrol } from "@flotilla/agent/link/enrol";
import { linkClient } from "@flotilla/agent/link/hub-client";
import type { Log } from "@flotilla/agent/log";
import { type Identity, type Link, type LinkHandlers, openLink } from "@flotilla/agent/link/link";
import { idOnlyTracer, type StepTracer } from "@flotilla/agent/telemetry";
import { openOutbox, type Outbox } from "@flotilla/agent/report/outbox";
import { type Publisher, type PublisherOptions, startPublisher } from "@flotilla/agent/report/publisher";
import { enrolPerSecond } from "@flotilla/hub/limits";
import { hubActor } from "@flotilla/hub/domain/actor";
import { openAuthorityStore } from "@flotilla/hub/store/authorities";
import { openEnrolmentStore, mintEnrolToken } from "@flotilla/hub/store/enrolment-store";
import { openHubSecrets } from "@flotilla/hub/store/hub-secrets";
import { openLinkStore } from "@flotilla/hub/store/link-store";
import { listen } from "@flotilla/hub/store/listen";
import { migrate } from "@flotilla/hub/store/migrate";
import { openPool } from "@flotilla/hub/store/pool";
import { type Sealing, sealingWith } from "@flotilla/hub/store/sealing";
import { type BrokerIdentity, openBrokerIdentity } from "@flotilla/hub/stream/broker-identity";
import { type Authorities, openAuthorities } from "@flotilla/hub/stream/authorities";
import type { CertificateAuthority } from "@flotilla/hub/stream/certificate-authority";
import { type EnrolmentListener, startEnrolment } from "@flotilla/hub/stream/enrolment";
import { type LinkListener, type LinkOptions, startLink } from "@flotilla/hub/stream/link-server";
import { startClaimsPusher } from "@flotilla/hub/stream/push-broker-claims";
import { ensureReportStream } from "@flotilla/hub/stream/report-stream";
import type { Command } from "@flotilla/proto/gen/link";
import type { Target } from "@flotilla/proto/gen/target";
import { type Body, packBody } from "@flotilla/proto/body";
import { targetDigest } from "@flotilla/proto/digest";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { trace, type Tracer } from "@opentelemetry/api";
import type pg from "pg";
import { natsForTests, type TestNats } from "../harness/nats.ts";
import { createTestDatabase } from "../harness/postgres.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** Shows what hub and agents log when FLOTILLA_TEST_LOG is set. */
const log = process.env.FLOTILLA_TEST_LOG ? { debug: show, info: show, warn: show, error: show } : quiet;

function show(fields: object, message: string): void {
  process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
}

/** One replica's listeners. */
export interface Replica {
  readonly hubId: string;
  readonly enrolment: EnrolmentListener;
  readonly link: LinkListener;
  readonly authorities: Authorities;
  close(): Promise<void>;
}

export interface RigAgent {
  readonly link: Link;
  readonly outbox: Outbox;
  readonly publisher: Publisher | undefined;
  readonly targets: Target[];
  readonly commands: Command[];
  readonly ends: string[];
  readonly bodies: Map<string, Uint8Array>;
  identity: Identity;
  stop(): Promise<void>;
}

export type ReplicaOptions = Partial<Pick<LinkOptions, "heartbeatIntervalMs" | "heartbeatDeadlineMs" | "sessionAgeMs">> & {
  hubId?: string;
  tracer?: Tracer;
  port?: number;
  /** Where agents find the broker, when not where it is. */
  brokerUrl?: string;
};

export interface AgentOptions {
  readonly handlers?: Partial<LinkHandlers>;
  readonly publishes?: boolean | Partial<PublisherOptions>;
  /** Folder of its outbox; the same name again continues it. */
  readonly dir?: string;
  readonly tracer?: StepTracer;
  readonly log?: Log;
}

/** Real Postgres, real nats-server in operator mode, and as many replicas and agents as a test wants. */
export interface LinkRig {
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  /** The CA that the hub began with. */
  readonly ca: CertificateAuthority;
  readonly broker: BrokerIdentity;
  readonly nats: TestNats;
  /** The hub's own connection to the broker; reconnects for ever. */
  readonly hubNats: NatsConnection;
  replica(options?: ReplicaOptions): Promise<Replica>;
  addCluster(name: string, lifetimeMs?: number): Promise<string>;
  enrol(replica: Replica, cluster: string, options?: Partial<EnrolOptions>): Promise<Identity>;
  agent(identity: Identity, options?: AgentOptions): Promise<RigAgent>;
  saveBody(body: Body): Promise<void>;
  release(target: {
    fleet: string;
    cluster: string;
    generation: number;
    bodies: readonly Body[];
    revision?: string;
    tombstone?: "orphan" | "delete";
  }): Promise<string>;
  folder(name: string): string;
  stop(): Promise<void>;
}

export async function startLinkRig(): Promise<LinkRig> {
  const folder = await scratchFolder("link");
  const migrated = async (url: string) => {
    const own = openPool({ url });
    await migrate(own);
    await own.end();
  };
  const database = await createTestDatabase({ migrate: migrated });
  const pool = openPool({ url: database.url });
  const sealing = sealingWith(randomBytes(32));
  const secrets = openHubSecrets(pool, sealing);
  const authorityStore = openAuthorityStore(pool, sealing);
  const first = await openAuthorities(authorityStore, log);
  await first.close();
  const ca = first.active;
  const broker = await openBrokerIdentity(secrets);
  if (broker.operator === undefined) throw new Error("the hub's own identity has an operator");
  const nats = await natsForTests({ operator: await broker.operator.claims([]) });
  const hubNats = await connect({ servers: nats.url, authenticator: broker.hubAuthenticator(), maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  await ensureReportStream(hubNats);
  const enrolmentStore = openEnrolmentStore(pool);
  const claims = startClaimsPusher({
    identity: broker,
    servers: [nats.url],
    readRevoked: () => enrolmentStore.readRevokedBrokerUsers(),
    onClaims: (operator) => nats.reload(operator),
    log,
  });
  const closers: (() => Promise<void>)[] = [];
  let hubs = 0;
  const addCluster = async (name: string, lifetimeMs?: number): Promise<string> => {
    await pool.query("INSERT INTO clusters (name) VALUES ($1) ON CONFLICT DO NOTHING", [name]);
    return (await mintEnrolToken(pool, hubActor, name, lifetimeMs)).token;
  };
  return {
    addCluster,
    pool,
    sealing,
    ca,
    broker,
    nats,
    hubNats,
    folder: (name) => join(folder, name),
    async replica({ hubId = `hub-${++hubs}`, tracer = trace.getTracer("test"), port = 0, brokerUrl = nats.url, ...beats } = {}) {
      const authorities = await openAuthorities(authorityStore, log);
      const common = { host: "127.0.0.1", port: 0, authorities, names: ["localhost"], tracer, log };
      const link = await startLink({
        ...common,
        ...beats,
        port,
        hubId,
        hubVersion: "test",
        store: openLinkStore(pool, sealing),
        credentials: enrolmentStore,
        broker: { identity: broker, urls: [brokerUrl], ca: "" },
        hints: (channels, onHint) => listen(database.url, channels, onHint),
        onRevoked: () => claims.hint(),
      });
      const enrolment = await startEnrolment({ ...common, perSecond: enrolPerSecond, store: enrolmentStore, linkAddress: `localhost:${link.port}` });
      let isClosed = false;
      const close = async () => {
        if (isClosed) return;
        isClosed = true;
        await enrolment.close();
        await link.close();
        await authorities.close();
      };
      closers.push(close);
      return { hubId, link, enrolment, authorities, close };
    },
    async enrol(replica, cluster, options = {}) {
      const token = options.token ?? (await addCluster(cluster));
      return await enrol({ address: `localhost:${replica.enrolment.port}`, caHash: ca.caHash, agentVersion: "test", tracer: idOnlyTracer, ...options, token });
    },
    async agent(
      identity,
      { handlers = {}, publishes = false, tracer = idOnlyTracer, log: ownLog = log, dir = `outbox-${identity.cluster}-${randomBytes(4).toString("hex")}` } = {},
    ) {
      await mkdir(join(folder, dir), { recursive: true });
      const outbox = await openOutbox({ dir: join(folder, dir), cluster: identity.cluster, log });
      const bodies = new Map<string, Uint8Array>();
      const targets: Target[] = [];
      const commands: Command[] = [];
      const ends: string[] = [];
      const agent = { outbox, targets, commands, ends, bodies, identity };
      const link = openLink({
        identity,
        identityStore: { load: async () => agent.identity, save: async (next) => void (agent.identity = next) },
        bodies: { has: (digest) => bodies.has(digest), put: async (digest, content) => void bodies.set(digest, content) },
        outbox,
        log: ownLog,
        agentVersion: "test",
        tracer,
        handlers: {
          onTarget: (target) => void targets.push(target),
          onCommand: async (command) => void commands.push(command),
          onConnected: () => undefined,
          onDisconnected: (reason) => void ends.push(reason),
          held: () =>
            [...new Map(targets.map((target) => [target.fleet, target])).values()].map(({ fleet, generation, digest }) => ({
              $typeName: "fleet.v1.HeldTarget",
              fleet,
              generation,
              digest,
            })),
          facts: () => ({ nodes: "3" }),
          kubernetesVersion: () => "v1.36.3",
          ...handlers,
        },
      });
      const more = typeof publishes === "object" ? publishes : {};
      const publisher = publishes === false ? undefined : startPublisher({ outbox, credentials: (key) => link.issueBrokerCredentials(key), log, ...more });
      let isStopped = false;
      const stop = async () => {
        if (isStopped) return;
        isStopped = true;
        await publisher?.close();
        await link.close();
        await outbox.close();
      };
      closers.push(stop);
      return Object.assign(agent, { link, publisher, stop });
    },
    async saveBody(body) {
      await pool.query("INSERT INTO bodies (digest, object_count, body_bytes, sealed_body, object_ids) VALUES ($1, $2, $3, $4, '{}') ON CONFLICT DO NOTHING", [
        body.digest,
        body.objectCount,
        body.compressed.length,
        sealing.seal(body.compressed),
      ]);
    },
    async release({ fleet, cluster, generation, bodies, revision = "1".repeat(40), tombstone }) {
      const policy = { drift: "heal", ignore: [], healthTimeoutMs: 300_000, pruneBudget: { objects: 5, percent: 10 } } as const;
      const bundles = bodies.map((body, index) => ({
        name: `b${index}`,
        digest: body.digest,
        objectCount: body.objectCount,
        bodyBytes: body.compressed.length,
        dependsOn: [],
        policy,
        excluded: [],
      }));
      const digest = targetDigest(bundles);
      await pool.query("INSERT INTO target_specs (digest, bundles) VALUES ($1, $2) ON CONFLICT DO NOTHING", [digest, JSON.stringify(bundles)]);
      await pool.query(
        `INSERT INTO targets (fleet, cluster, generation, revision, digest, bundles, tombstone) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (fleet, cluster) DO UPDATE SET generation = $3, revision = $4, digest = $5, bundles = $6, tombstone = $7, released_at = now()`,
        [fleet, cluster, generation, revision, digest, JSON.stringify(bundles), tombstone ?? null],
      );
      await pool.query("SELECT pg_notify('flotilla_targets', $1)", [JSON.stringify({ clusters: [cluster] })]);
      return digest;
    },
    async stop() {
      for (const close of closers.toReversed()) await close();
      await claims.close();
      await hubNats.close();
      await nats.stop();
      await pool.end();
      await database.drop();
      await removeFolder(folder);
    },
  };
}

/** A body of about so many compressed bytes: random text does not compress below half. */
export function bodyOf(seed: string, bytes = 100): Body {
  const data = { seed, filler: randomBytes(bytes).toString("base64") };
  return packBody([{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: seed, namespace: "default" }, data }]);
}

interface RawAnswer {
  readonly message: { readonly case: string; readonly value: { readonly digest?: string; readonly reason?: string } };
}

/** A stream that says what a test wants, with an agent's identity. */
export function rawStream(identity: Identity) {
  const client = linkClient(identity, idOnlyTracer);
  const call = (client as unknown as { connect(): Duplex }).connect();
  const answers: RawAnswer[] = [];
  const stream = {
    answers,
    end: undefined as string | undefined,
    say: (message: { readonly case: string; readonly value: object }) => void call.write({ message }),
    close() {
      call.destroy();
      client.close();
    },
  };
  call.on("data", (answer: RawAnswer) => answers.push(answer));
  call.on("error", (error: Error) => (stream.end ??= error.message));
  return stream;
}
