import { get } from "node:http";
import { freePort } from "./free-port.ts";
import { findTool } from "@flotilla/hub/embedded/tools";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";
import { startServerProcess } from "./server-process.ts";

/** A span as Jaeger's query API gives it; times in microseconds. */
export interface JaegerSpan {
  traceID: string;
  spanID: string;
  operationName: string;
  startTime: number;
  duration: number;
  references: { refType: string; spanID: string }[];
  processID: string;
  tags: { key: string; value: unknown }[];
}

export interface JaegerTrace {
  traceID: string;
  spans: JaegerSpan[];
  processes: Record<string, { serviceName: string }>;
}

export interface Jaeger {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT, OTLP over HTTP. */
  otlpEndpoint: string;
  queryUrl: string;
  /** undefined when Jaeger has not got it (yet). */
  readTrace(traceId: string): Promise<JaegerTrace | undefined>;
  stop(): Promise<void>;
}

/** A real Jaeger, all in one, in memory. */
export async function startJaeger(): Promise<Jaeger> {
  const folder = await scratchFolder("jaeger");
  const [query, queryGrpc, otlp, otlpGrpc, admin, collector, collectorGrpc, sampling] = await freePorts(8);
  const queryUrl = `http://127.0.0.1:${query}`;
  const server = await startServerProcess({
    name: "jaeger",
    file: await findTool("jaeger"),
    folder,
    env: { PATH: process.env.PATH, SPAN_STORAGE_TYPE: "memory" },
    args: [
      `--query.http-server.host-port=127.0.0.1:${query}`,
      `--query.grpc-server.host-port=127.0.0.1:${queryGrpc}`,
      "--collector.otlp.enabled=true",
      `--collector.otlp.http.host-port=127.0.0.1:${otlp}`,
      `--collector.otlp.grpc.host-port=127.0.0.1:${otlpGrpc}`,
      `--collector.http-server.host-port=127.0.0.1:${collector}`,
      `--collector.grpc-server.host-port=127.0.0.1:${collectorGrpc}`,
      `--admin.http.host-port=127.0.0.1:${admin}`,
      `--http-server.host-port=127.0.0.1:${sampling}`,
      "--processor.jaeger-compact.server-host-port=127.0.0.1:0",
      "--processor.jaeger-binary.server-host-port=127.0.0.1:0",
      "--processor.zipkin-compact.server-host-port=127.0.0.1:0",
      "--memory.max-traces=10000",
      "--log-level=error",
    ],
    ready: async () => (await getJson(`${queryUrl}/api/services`)) !== undefined,
    readyMs: 30_000,
  });
  return {
    otlpEndpoint: `http://127.0.0.1:${otlp}`,
    queryUrl,
    async readTrace(traceId) {
      const answer = (await getJson(`${queryUrl}/api/traces/${traceId}`)) as { data?: JaegerTrace[] } | undefined;
      return answer?.data?.[0];
    },
    async stop() {
      // Nothing to save, and its own stop takes ten seconds.
      await server.kill9();
      await removeFolder(folder);
    },
  };
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

/** undefined on any answer but 200. */
function getJson(url: string): Promise<unknown> {
  return new Promise((resolve) => {
    get(url, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.once("end", () => resolve(response.statusCode === 200 ? JSON.parse(Buffer.concat(parts).toString("utf8")) : undefined));
    }).once("error", () => resolve(undefined));
  });
}
