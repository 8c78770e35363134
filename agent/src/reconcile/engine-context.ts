import type { BodyStore } from "../cluster/body-store.ts";
import type { Discovery } from "../cluster/discovery.ts";
import type { OrderStore } from "../cluster/order-store.ts";
import type { InventoryStore } from "../cluster/inventory-store.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import type { TargetStore } from "../cluster/target-store.ts";
import type { ObjectKey } from "../domain/object-id.ts";
import type { Log } from "../log.ts";
import type { StepTracer } from "../telemetry.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { FleetReporter } from "./fleet-reporter.ts";
import type { FleetRun } from "./fleet-run.ts";
import type { Due } from "./keyed-queue.ts";

/** What the stories work with. */
export interface EngineContext {
  readonly cluster: string;
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly view: ClusterView;
  readonly bodies: BodyStore;
  readonly targets: TargetStore;
  readonly inventories: InventoryStore;
  readonly orders: OrderStore;
  readonly tracer: StepTracer;
  readonly log: Log;
  /** Keys the hashes that stand for secret values; new in every process. */
  readonly hashKey: Uint8Array;
  /** How long what left its target rests before it is deleted: bundles, and single objects where there are other fleets. */
  readonly handOverMs: number;
  reporter(run: FleetRun): FleetReporter;
  /** The other fleet that wants an object and holds it, or whose target is not read yet and may want what it holds; undefined when there is none. */
  claimedBy(run: FleetRun, key: ObjectKey): string | undefined;
  /** The other fleet that wants an object and has applied it, or undefined. */
  takenBy(run: FleetRun, key: ObjectKey): string | undefined;
  /** The other fleet whose target names an object, or undefined. */
  namedBy(run: FleetRun, key: ObjectKey): string | undefined;
  /** Whether this cluster is in other fleets too: what leaves this one may be on its way to them. */
  hasOtherFleets(run: FleetRun): boolean;
  /** Another fleet whose newest target was not read yet: it may name anything. */
  unreadFleet(run: FleetRun): string | undefined;
  /** Whether the owner annotation of a live object speaks for nobody any more: its fleet is in this cluster, and let go of it. */
  hasLetGo(fleet: string, key: ObjectKey): boolean;
  /** What a fleet holds or names has changed: others may have waited for that. */
  claimsChanged(run: FleetRun): void;
  queueFleet(run: FleetRun, due?: Due): void;
  queueObject(run: FleetRun, key: ObjectKey, due?: Due): void;
  /** The cluster has left the fleet and nothing of it is held any more. */
  forgetFleet(run: FleetRun): void;
}
