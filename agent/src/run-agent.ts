import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "@flotilla/proto/gen/link";
import { type ClusterFacts, readClusterFacts } from "./cluster/cluster-facts.ts";
import { identityInCluster, identityInFile, type StoredIdentityHome } from "./cluster/identity-store.ts";
import { KubeClient } from "./cluster/kube-client.ts";
import type { KubeEndpoint } from "./cluster/kube-endpoint.ts";
import { KubeError } from "./cluster/kube-error.ts";
import { StateObjects } from "./cluster/state-objects.ts";
import { type AgentConfig, UsageError } from "./config.ts";
import { mainLimits, reportLimits } from "./limits.ts";
import type { CommandReply } from "./link/command-gate.ts";
import { enrol, EnrolError } from "./link/enrol.ts";
import { type EnrolledAgain, enrolAgain, tokenHashOf } from "./link/enrol-again.ts";
import { type Identity, type LinkHandlers, type LinkOptions, openLink } from "./link/link.ts";
import type { Log } from "./log.ts";
import { answerPreview } from "./reconcile/answer-preview.ts";
import { GateAnswers } from "./reconcile/answer-gates.ts";
import { Engine } from "./reconcile/engine.ts";
import { openOutbox } from "./report/outbox.ts";
import { type Publisher, startPublisher } from "./report/publisher.ts";
import { idOnlyTracer, openTracer } from "./telemetry.ts";
import { agentVersion } from "./version.ts";

/** What one agent is told, wherever its API server was found. */
export interface AgentOptions extends Pick<AgentConfig, "hub" | "token" | "caHash" | "cluster" | "stateDir" | "identity"> {
  readonly endpoint: KubeEndpoint;
  readonly log: Log;
  /** Ends the agent in order. */
  readonly stopping: AbortSignal;
  /** Told what passes on the link, for benches and tests. */
  readonly onLink?: (what: "connected" | "disconnected" | "target") => void;
}

/**
 * The agent: an identity, then the engine on what the cluster keeps, then the link and the reports. Each goes on without those
 * after it: a hub or a broker that is away stops nothing. Nothing here is the process' own: many agents can run in one.
 *
 * @returns when it was stopped.
 * @throws UsageError, EnrolError, KubeError "unusable": what trying again does not mend.
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { endpoint, log, stopping } = options;
  const client = new KubeClient(endpoint, log);
  const closing: (() => Promise<void> | void)[] = [() => client.close()];
  try {
    const facts = await untilDone(() => readClusterFacts(client), "reach the API server", log, stopping);
    log.info({ server: endpoint.url.origin, from: endpoint.source, kubernetes: facts.kubernetesVersion, version: agentVersion }, "the agent starts");
    const state = new StateObjects(client);
    const identityStore = options.identity === "file" ? identityInFile(join(options.stateDir, "identity.json")) : identityInCluster(state);
    const { identity, enrolAnew } = await establishIdentity(options, state, identityStore);
    const { cluster } = identity;

    const tracer = await openTracer(process.env, { "flotilla.cluster": cluster, "service.version": agentVersion });
    closing.push(() => tracer.shutdown());
    const outbox = await openOutbox({ dir: join(options.stateDir, "outbox"), cluster, maxBytes: reportLimits.outboxBytes, log });
    closing.push(() => outbox.close());
    const onBodiesLost = () => link.reopen("bodies that the cluster kept are gone");
    const engine = new Engine({ cluster, client, state, sink: outbox, tracer, log, onBodiesLost });
    await untilDone(() => engine.start(), "read what the cluster keeps", log, stopping);
    closing.push(() => engine.stop());
    outbox.onSnapshotNeeded(() => {
      engine.snapshot().catch((error: unknown) => log.error({ err: error }, "a snapshot could not be recorded"));
    });

    const gates = new GateAnswers(client, (fleet) => engine.suspensionOf(fleet));
    closing.push(() => gates.stop());
    const onRenewCredentials = () => publisher.renewCredentials();
    const link = openLink({
      identity,
      identityStore,
      bodies: engine.bodies,
      outbox,
      handlers: handlersOf(engine, gates, facts, options),
      log,
      agentVersion,
      tracer,
      onRenewCredentials,
      ...(enrolAnew && { enrolAnew }),
    });
    closing.push(() => link.close());
    const publisher: Publisher = startPublisher({ outbox, credentials: (key) => link.issueBrokerCredentials(key), log });
    closing.push(() => publisher.close());
    await aborted(stopping);
    log.info({}, "the agent stops");
  } finally {
    // The last opened first; what hangs is left to the process' end.
    for (const close of closing.toReversed()) await Promise.race([close(), delay(mainLimits.closeMs, undefined, { ref: false })]);
  }
}

interface Established {
  readonly identity: Identity;
  /** Where the hub could not be asked about the token. */
  readonly enrolAnew?: NonNullable<LinkOptions["enrolAnew"]>;
}

/**
 * The identity that is kept, or a new one for the token: for the first, or for one that is not the token that the kept one came by. What is kept goes on when
 * the hub is away, and the link tries the token again.
 *
 * @throws UsageError when there is neither; EnrolError when the hub refuses the token.
 */
async function establishIdentity(options: AgentOptions, state: StateObjects, home: StoredIdentityHome): Promise<Established> {
  const { hub, token, caHash, cluster, log, stopping } = options;
  if (options.identity === "secret") await untilDone(() => state.ensureNamespace(), "make its namespace", log, stopping);
  const kept = await untilDone(() => home.load(), "read its identity", log, stopping);
  if (kept && cluster !== undefined && kept.cluster !== cluster) {
    throw new UsageError(
      `this agent is enrolled as "${kept.cluster}", --cluster says "${cluster}": remove the Secret flotilla-agent-identity to enrol it anew`,
    );
  }
  const enrolWith = (options: { hub: string; token: string; caHash: string }) =>
    enrol({ address: options.hub, token: options.token, caHash: options.caHash, agentVersion, tracer: idOnlyTracer });
  if (kept) {
    if (hub === undefined || token === undefined || caHash === undefined) return { identity: kept };
    const enrolAnew = async (before: Identity): Promise<EnrolledAgain> => {
      const enrolled = await enrolAgain(before, token, () => enrolWith({ hub, token, caHash }), log);
      if (enrolled.identity !== before) await untilDone(() => home.save(enrolled.identity), "keep its identity", log, stopping);
      return enrolled;
    };
    const { identity, waits } = await enrolAnew(kept);
    return waits ? { identity, enrolAnew } : { identity };
  }
  if (hub === undefined || token === undefined || caHash === undefined) {
    throw new UsageError("this agent has no identity yet: give --hub, --token and --ca-hash as printed by 'fleet cluster add'");
  }
  const enrolled = await untilDone(() => enrolWith({ hub, token, caHash }), "enrol at the hub", log, stopping);
  const identity = { ...enrolled, tokenHash: tokenHashOf(token) };
  if (cluster !== undefined && identity.cluster !== cluster)
    throw new UsageError(`the token is for cluster "${identity.cluster}", --cluster says "${cluster}"`);
  await untilDone(() => home.save(identity), "keep its identity", log, stopping);
  log.info({ cluster: identity.cluster, hub }, "enrolled");
  return { identity };
}

function handlersOf(engine: Engine, gates: GateAnswers, facts: ClusterFacts, { log, onLink }: AgentOptions): LinkHandlers {
  return {
    onTarget(target) {
      onLink?.("target");
      engine.accept(target);
    },
    onCommand: (command: Command) => replyTo(command, engine, gates),
    onConnected({ takesChangedBundles }) {
      engine.tellsChangedBundles = takesChangedBundles;
      onLink?.("connected");
      log.info({}, "linked to the hub");
    },
    onDisconnected(reason) {
      onLink?.("disconnected");
      log.warn({ reason }, "the link to the hub broke; the cluster is kept as it is");
    },
    held: () => engine.accepted(),
    facts: () => ({ ...facts.facts }),
    kubernetesVersion: () => facts.kubernetesVersion,
  };
}

async function replyTo(command: Command, engine: Engine, gates: GateAnswers): Promise<CommandReply | void> {
  const { kind } = command;
  if (kind.case === "gate") return { gate: await gates.answer(command, kind.value) };
  if (kind.case === "endGate") return await gates.end(kind.value);
  if (kind.case === "dryRun") return { dryRun: await answerPreview(engine, command, kind.value) };
  return await engine.command(command);
}

/** Try until it works, the process is to end, or trying again does not help. */
async function untilDone<T>(act: () => Promise<T>, what: string, log: Log, stopping: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    stopping.throwIfAborted();
    try {
      return await act();
    } catch (error) {
      if (isFinal(error)) throw error;
      log.warn({ err: error, attempt }, `cannot ${what} yet`);
      const cap = Math.min(mainLimits.retryMaxMs, mainLimits.retryMinMs * 2 ** Math.min(attempt - 1, 10));
      await delay(cap / 2 + (Math.random() * cap) / 2, undefined, { signal: stopping });
    }
  }
}

/** Whether somebody has to act before another try makes sense. */
function isFinal(error: unknown): boolean {
  if (error instanceof EnrolError) return error.code !== "Unreachable" && error.code !== "TooMany";
  return error instanceof KubeError && error.code === "unusable";
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
