import type { KubeObject } from "@flotilla/proto/digest";

/** An object as an API server gives it. */
export interface LiveObject extends KubeObject {
  readonly metadata: KubeObject["metadata"] & {
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
    readonly managedFields?: unknown;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}
