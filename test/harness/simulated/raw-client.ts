import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import type { KubeCluster } from "../kube-cluster.ts";
import type { Fields } from "./typed-value.ts";

/** An answer with nothing read into it. */
export interface RawAnswer {
  readonly status: number;
  readonly body: Fields;
}

export interface RawClient {
  send(method: string, path: string, body?: unknown, contentType?: string): Promise<RawAnswer>;
  apply(path: string, object: object, fieldManager: string, force?: boolean): Promise<RawAnswer>;
  /** Lines of a watch until `count` came or the server ended it. */
  watch(path: string, count: number): Promise<Fields[]>;
  close(): void;
}

/** For comparing API servers: says what was answered, refusals too. */
export function rawClient(cluster: Pick<KubeCluster, "url" | "caFile" | "token">): RawClient {
  const agent = new Agent({ keepAlive: true, ca: readFileSync(cluster.caFile), maxSockets: 16 });
  const open = (method: string, path: string, body: unknown, contentType: string, onText: (text: string) => boolean) =>
    new Promise<number>((resolve, reject) => {
      const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const headers = {
        authorization: `Bearer ${cluster.token}`,
        accept: "application/json",
        "user-agent": "contract",
        ...(bytes && { "content-type": contentType, "content-length": bytes.length }),
      };
      const outgoing = request(`${cluster.url}${path}`, { method, agent, headers }, (response) => {
        response.setEncoding("utf8");
        response.on("data", (text: string) => {
          if (!onText(text)) response.destroy();
        });
        response.on("close", () => resolve(response.statusCode ?? 0));
      });
      outgoing.on("error", reject);
      outgoing.end(bytes);
    });
  const send = async (method: string, path: string, body?: unknown, contentType = "application/json"): Promise<RawAnswer> => {
    let text = "";
    const status = await open(method, path, body, contentType, (part) => ((text += part), true));
    return { status, body: asFields(text) };
  };
  return {
    send,
    apply: (path, object, fieldManager, force = false) =>
      send("PATCH", `${path}?fieldManager=${fieldManager}&force=${force}`, object, "application/apply-patch+yaml"),
    async watch(path, count) {
      let text = "";
      const lines = () => text.split("\n").slice(0, -1);
      await open("GET", path, undefined, "", (part) => {
        text += part;
        return lines().length < count;
      });
      return lines().map((line) => JSON.parse(line) as Fields);
    },
    close: () => agent.destroy(),
  };
}

function asFields(text: string): Fields {
  try {
    return JSON.parse(text) as Fields;
  } catch {
    return { text };
  }
}
