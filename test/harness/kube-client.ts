import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";

export interface KubeAddress {
  url: string;
  token: string;
  ca: string;
}

/** An API object as a test looks at it. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    [field: string]: unknown;
  };
  // Tests read and write fields of every kind.
  // oxlint-disable-next-line no-explicit-any
  [field: string]: any;
}

/** The API server said no. `status` is HTTP's, `reason` Kubernetes'. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(`${status} ${reason}: ${message}`);
    this.status = status;
    this.reason = reason;
  }
}

export interface WatchEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  object: KubeObject;
}

/** A small client for tests, apart from the product's: tests must not judge a client by itself. Paths as `kubectl get --raw`. */
export interface KubeClient {
  get(path: string): Promise<KubeObject>;
  /** undefined on 404. */
  find(path: string): Promise<KubeObject | undefined>;
  list(path: string): Promise<KubeObject[]>;
  create(path: string, object: object): Promise<KubeObject>;
  replace(path: string, object: object): Promise<KubeObject>;
  mergePatch(path: string, patch: object): Promise<KubeObject>;
  /** Server-side apply. */
  apply(path: string, object: object, fieldManager?: string, force?: boolean): Promise<KubeObject>;
  delete(path: string): Promise<void>;
  /** The response's text whatever its kind, for /readyz and /metrics. */
  text(path: string): Promise<{ status: number; body: string }>;
  /** Ends when the server ends it or the signal fires; never throws for either. */
  watch(path: string, signal: AbortSignal, onEvent: (event: WatchEvent) => void): Promise<void>;
  close(): void;
}

export function kubeClient(address: KubeAddress): KubeClient {
  const agent = new Agent({ keepAlive: true, ca: address.ca, maxSockets: 32 });

  async function send(method: string, path: string, body?: object, contentType = "application/json", signal?: AbortSignal): Promise<IncomingMessage> {
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const outgoing = request(`${address.url}${path}`, {
      method,
      agent,
      headers: {
        authorization: `Bearer ${address.token}`,
        accept: "application/json",
        ...(bytes && { "content-type": contentType, "content-length": bytes.length }),
      },
      ...(signal && { signal }),
    });
    outgoing.end(bytes);
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    return response;
  }

  async function call(method: string, path: string, body?: object, contentType?: string): Promise<KubeObject> {
    const response = await send(method, path, body, contentType);
    const text = await readText(response);
    const status = response.statusCode ?? 0;
    const answer = asObject(text);
    if (status >= 400) throw new KubeError(status, String(answer?.reason ?? ""), String(answer?.message ?? text));
    if (!answer) throw new KubeError(status, "NotJson", text.slice(0, 200));
    return answer;
  }

  return {
    get: (path) => call("GET", path),
    find: (path) =>
      call("GET", path).catch((error: unknown) => {
        if (error instanceof KubeError && error.status === 404) return undefined;
        throw error;
      }),
    list: async (path) => ((await call("GET", path)).items ?? []) as KubeObject[],
    create: (path, object) => call("POST", path, object),
    replace: (path, object) => call("PUT", path, object),
    mergePatch: (path, patch) => call("PATCH", path, patch, "application/merge-patch+json"),
    apply: (path, object, fieldManager = "test", force = true) =>
      call("PATCH", `${path}?fieldManager=${encodeURIComponent(fieldManager)}&force=${force}`, object, "application/apply-patch+yaml"),
    delete: async (path) => {
      await call("DELETE", path);
    },
    async text(path) {
      const response = await send("GET", path);
      return { status: response.statusCode ?? 0, body: await readText(response) };
    },
    async watch(path, signal, onEvent) {
      const separator = path.includes("?") ? "&" : "?";
      try {
        const response = await send("GET", `${path}${separator}watch=true`, undefined, undefined, signal);
        if (response.statusCode !== 200) throw new KubeError(response.statusCode ?? 0, "Watch", await readText(response));
        for await (const line of createInterface({ input: response })) {
          if (line) onEvent(JSON.parse(line) as WatchEvent);
        }
      } catch (error) {
        if (error instanceof KubeError) throw error;
        // The connection ended: the caller lists again, or has closed.
      }
    },
    close: () => agent.destroy(),
  };
}

async function readText(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function asObject(text: string): KubeObject | undefined {
  try {
    return JSON.parse(text) as KubeObject;
  } catch {
    return undefined;
  }
}
