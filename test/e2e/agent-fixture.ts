import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Engine } from "@flotilla/agent/reconcile/engine";
import { BodyStore } from "@flotilla/agent/cluster/body-store";
import { KubeClient } from "@flotilla/agent/cluster/kube-client";
import type { KubeTiming } from "@flotilla/agent/cluster/kube-connection";
import { kubeconfigEndpoint } from "@flotilla/agent/cluster/kubeconfig-endpoint";
import { StateObjects } from "@flotilla/agent/cluster/state-objects";
import { TargetStore } from "@flotilla/agent/cluster/target-store";
import { silentLog, type Log } from "@flotilla/agent/log";
import { idOnlyTracer } from "@flotilla/agent/telemetry";
import { packBody } from "@flotilla/proto/body";
import { sha256, type KubeObject } from "@flotilla/proto/digest";
import {
  Change,
  Health,
  SyncState,
  type ClusterEvent,
  type FleetReport,
  type ObjectState,
  type ReportEnvelope,
  type Summary,
} from "@flotilla/proto/gen/report";
import { TargetSchema, type Target, type TargetBundleSchema } from "@flotilla/proto/gen/target";
import type { KubeCluster } from "../harness/kube-cluster.ts";
import { waitFor } from "../harness/wait-for.ts";

export const testClusterName = "c1";

/** A bundle as a test writes it. */
export interface TestBundle extends Omit<
  MessageInitShape<typeof TargetBundleSchema>,
  "$typeName" | "$unknown" | "digest" | "objectCount" | "bodyBytes" | "name"
> {
  readonly name: string;
  readonly objects: readonly object[];
}

/** A target and the bodies that it names. */
export interface TestTarget {
  readonly target: Target;
  readonly bodies: ReadonlyMap<string, Uint8Array>;
}

export function testTarget(fleet: string, generation: number, bundles: readonly TestBundle[], more: MessageInitShape<typeof TargetSchema> = {}): TestTarget {
  const packed = bundles.map(({ objects, ...bundle }) => ({ bundle, body: packBody(objects as KubeObject[]) }));
  const target = create(TargetSchema, {
    fleet,
    cluster: testClusterName,
    generation: BigInt(generation),
    revision: String(generation).padStart(40, "0"),
    digest: sha256(
      JSON.stringify([generation, packed.map(({ bundle, body }) => [bundle, body.digest])], (_, value: unknown) =>
        typeof value === "bigint" ? Number(value) : value,
      ),
    ),
    complete: true,
    bundles: packed.map(({ bundle, body }) => ({
      ...bundle,
      digest: body.digest,
      objectCount: body.objectCount,
      bodyBytes: BigInt(body.compressed.byteLength),
    })),
    ...more,
  });
  return { target, bodies: new Map(packed.map(({ body }) => [body.digest, body.compressed])) };
}

/** An engine on a real cluster, with the hub's end of its reports folded as the hub would. */
export interface TestEngine {
  readonly engine: Engine;
  readonly client: KubeClient;
  readonly reports: readonly FleetReport[];
  readonly events: readonly ClusterEvent[];
  readonly objects: ReadonlyMap<string, ObjectState>;
  summary(fleet: string): Summary | undefined;
  accept(target: TestTarget): Promise<void>;
  /** Deliver a target and wait until it is applied and in sync. */
  sync(target: TestTarget, timeoutMs?: number): Promise<void>;
  waitForEvent(reason: string, matches?: RegExp, timeoutMs?: number): Promise<ClusterEvent>;
  waitForQuiet(): Promise<void>;
  /** Requests that change or read objects, since the start: watches included under GET. */
  sent(): Record<string, number>;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly kubeconfig?: string;
  readonly timing?: Partial<KubeTiming>;
  /** Where it keeps its state: engines with different ones do not know of each other. */
  readonly stateNamespace?: string;
  readonly handOverMs?: number;
  /** The client it works with: a test double that fails on purpose. */
  readonly makeClient?: (...args: ConstructorParameters<typeof KubeClient>) => KubeClient;
}

/** The engine's last words, for a test that fails. */
function keepLog(): { log: Log; told(): string } {
  const lines: string[] = [];
  const keep = (level: string) => (fields: object, message: string) => {
    const details = JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value));
    lines.push(`${new Date().toISOString()} ${level} ${message} ${details}`);
    if (lines.length > 60) lines.shift();
  };
  return { log: { debug: keep("debug"), info: keep("info"), warn: keep("warn"), error: keep("error") }, told: () => lines.join("\n") };
}

/** @param cluster real or simulated: the engine knows nothing but its kubeconfig. */
export async function startEngine(cluster: Pick<KubeCluster, "kubeconfig">, options: StartOptions = {}): Promise<TestEngine> {
  const makeClient = options.makeClient ?? ((...args) => new KubeClient(...args));
  const { log, told } = keepLog();
  const client = makeClient(await kubeconfigEndpoint(options.kubeconfig ?? cluster.kubeconfig), log, options.timing);
  const reports: FleetReport[] = [];
  const events: ClusterEvent[] = [];
  const objects = new Map<string, ObjectState>();
  const summaries = new Map<string, FleetReport>();
  let seq = 0n;
  const sink = {
    record: (report: ReportEnvelope["report"]) => {
      seq += 1n;
      if (report.case !== "fleet") return Promise.resolve(seq);
      reports.push(report.value);
      events.push(...report.value.events);
      for (const state of report.value.objects) objects.set(keyOf(state.id), state);
      for (const id of report.value.gone) objects.delete(keyOf(id));
      if (report.value.removed) summaries.delete(report.value.fleet);
      else summaries.set(report.value.fleet, report.value);
      return Promise.resolve(seq);
    },
  };
  const engine = new Engine({
    cluster: testClusterName,
    client,
    state: new StateObjects(client, options.stateNamespace),
    ...(options.handOverMs !== undefined && { handOverMs: options.handOverMs }),
    sink,
    tracer: idOnlyTracer,
    log,
  });
  await engine.start();
  const accept = async ({ target, bodies }: TestTarget) => {
    // All at once, as the link hands them over.
    await Promise.all([...bodies].map(([digest, body]) => engine.bodies.put(digest, body)));
    engine.accept(target);
  };
  return {
    engine,
    client,
    reports,
    events,
    objects,
    summary: (fleet) => summaries.get(fleet)?.summary,
    accept,
    sync: async (wanted, timeoutMs = 30_000) => {
      await accept(wanted);
      const { fleet, generation } = wanted.target;
      await waitFor(() => summaries.get(fleet)?.generation === generation && summaries.get(fleet)?.summary?.sync === SyncState.SYNCED, {
        what: `fleet ${fleet} in sync (${summaries.get(fleet)?.summary?.message})`,
        timeoutMs,
        everyMs: 10,
      }).catch((error: Error) => {
        throw new Error(`${error.message}; summary: ${summaries.get(fleet)?.summary?.message}; log: ${told()}`, { cause: error });
      });
    },
    waitForEvent: (reason, matches = /(?:)/, timeoutMs = 15_000) =>
      waitFor(() => events.find((event) => event.reason === reason && matches.test(event.message)), {
        what: `event ${reason} ${matches}`,
        timeoutMs,
        everyMs: 10,
      }).catch((error: Error) => {
        const seen = events.map((event) => `${event.reason}: ${event.message}`).join("\n");
        throw new Error(`${error.message}; events: ${seen}; engine ${engine.isQuiet ? "quiet" : "busy"}; log: ${told()}`, { cause: error });
      }),
    waitForQuiet: async () => {
      await waitFor(() => engine.isQuiet, { what: "a quiet engine" });
    },
    sent: () => ({ ...client.sent }),
    stop: async () => {
      await engine.stop();
      client.close();
    },
  };
}

/** Put a target into a cluster as an agent would have kept it: an engine that starts next goes on with it. */
export async function keepTarget(cluster: KubeCluster, { target, bodies }: TestTarget, stateNamespace?: string): Promise<void> {
  const client = new KubeClient(await kubeconfigEndpoint(cluster.kubeconfig), silentLog);
  const state = new StateObjects(client, stateNamespace);
  await state.ensureNamespace();
  const store = new BodyStore(state);
  await Promise.all([...bodies].map(([digest, body]) => store.put(digest, body)));
  await new TargetStore(state, silentLog).save(target);
  client.close();
}

function keyOf(id: ObjectState["id"]): string {
  return id ? `${id.kind} ${id.namespace === "" ? "" : `${id.namespace}/`}${id.name}` : "";
}

export const configMap = (name: string, data: Record<string, string> = { a: "1" }, namespace = "default") => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace },
  data,
});

export const deployment = (name: string, more: { image?: string; replicas?: number; namespace?: string } = {}) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace: more.namespace ?? "default" },
  spec: {
    replicas: more.replicas ?? 1,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "main", image: more.image ?? "example/app:1", ports: [{ containerPort: 80 }] }] },
    },
  },
});

export const crd = (plural: string, kind: string, group = "test.example") => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: "Namespaced",
    names: { plural, singular: kind.toLowerCase(), kind },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: { spec: { type: "object", properties: { size: { type: "integer", default: 3 }, label: { type: "string" } } } },
          },
        },
      },
    ],
  },
});

export { Change, Health, SyncState };
