import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../log.ts";
import { ClusterClock } from "./cluster-clock.ts";
import { KubeClient } from "./kube-client.ts";
import type { KubeEndpoint } from "./kube-endpoint.ts";
import { Reflector, type ReflectorHandler } from "./reflector.ts";

type Answer = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: ServerHttp2Session) => void;

describe("the Kubernetes client", () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  async function serve(answer: Answer): Promise<{ client: KubeClient; server: Http2Server; tokens: string[] }> {
    const server = createServer();
    const sessions = new Set<ServerHttp2Session>();
    server.on("session", (session) => {
      sessions.add(session);
      session.on("error", () => undefined);
      session.on("stream", (stream, headers) => {
        stream.on("error", () => undefined);
        answer(stream, headers, session);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const tokens = ["first", "second"];
    let renewed = 0;
    const endpoint: KubeEndpoint = {
      url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
      source: "test",
      serverName: undefined,
      insecureSkipVerify: false,
      tls: () => Promise.resolve({}),
      token: () => Promise.resolve(tokens[renewed]),
      renew: () => {
        renewed += 1;
      },
    };
    const client = new KubeClient(endpoint, silentLog);
    closing.push(() => {
      client.close();
      for (const session of sessions) session.destroy();
      server.close();
    });
    return { client, server, tokens };
  }

  const json = (stream: ServerHttp2Stream, status: number, body: object, headers: object = {}) => {
    stream.respond({ ":status": status, ...headers });
    stream.end(JSON.stringify(body));
  };

  it("opens a new connection after GOAWAY and after a connection that broke", async () => {
    let count = 0;
    const { client } = await serve((stream, _, session) => {
      count += 1;
      if (count === 2) return session.destroy();
      json(stream, 200, { count });
      if (count === 1) session.goaway();
    });
    expect(await client.json({ method: "GET", path: "/a" })).toEqual({ count: 1 });
    expect(await client.json({ method: "GET", path: "/b" })).toEqual({ count: 3 });
  });

  it("waits as long as a 429 asks for, and gets through", async () => {
    let count = 0;
    const { client } = await serve((stream) => {
      count += 1;
      if (count === 1) json(stream, 429, { message: "slow down" }, { "retry-after": "1" });
      else json(stream, 200, {});
    });
    const started = performance.now();
    await client.request({ method: "GET", path: "/a" });
    expect(performance.now() - started).toBeGreaterThan(900);
    expect(client.concurrency).toBeLessThan(8);
  });

  it("asks for new credentials once when the server does not accept them", async () => {
    const { client } = await serve((stream, headers) => json(stream, headers.authorization === "Bearer second" ? 200 : 401, {}));
    await client.request({ method: "GET", path: "/a" });
  });

  it("gives up on an answer that does not come, naming the request", async () => {
    const { client } = await serve(() => undefined);
    await expect(client.request({ method: "GET", path: "/slow", deadlineMs: 50 })).rejects.toThrow(/GET \/slow: no answer within 0\.05 s/);
  });

  it("says where it looked when nobody is there", async () => {
    const { client, server } = await serve(() => undefined);
    server.close();
    await new Promise((resolve) => server.once("close", resolve));
    await expect(client.request({ method: "GET", path: "/" })).rejects.toThrow(/API server http:\/\/127.*\(test\) is not reachable/);
  });

  it("ends a watch that falls silent", async () => {
    const { client } = await serve((stream) => {
      stream.respond({ ":status": 200 });
      stream.write('{"type":"BOOKMARK"}\n');
    });
    const lines: string[] = [];
    await expect(client.watch("/w", {}, { idleMs: 50, signal: new AbortController().signal, onLine: (line) => lines.push(line.toString()) })).rejects.toThrow(
      /silent/,
    );
    expect(lines).toHaveLength(1);
  });

  describe("and its reflector", () => {
    const resource = { apiVersion: "v1", group: "", kind: "ConfigMap", plural: "configmaps", isNamespaced: true, canWatch: true };
    const item = (name: string, uid: string) => ({ metadata: { name, namespace: "n", uid } });

    function record(): { told: string[]; handler: ReflectorHandler; until: (line: string) => Promise<void> } {
      const told: string[] = [];
      const waiting: { line: string; resolve: () => void }[] = [];
      const tell = (line: string) => {
        told.push(line);
        for (const wait of waiting) if (wait.line === line) wait.resolve();
      };
      const handler: ReflectorHandler = {
        isKnown: (_, __, name, uid, version) => name === "known" && uid === "7" && version === "70",
        onPresent: (_, object) => tell(`+${object.metadata.name}/${object.metadata.uid}`),
        onGone: (_, __, name, uid) => tell(`-${name}/${uid}`),
        onListed: () => tell("listed"),
        onBlind: (_, __, error) => tell(`blind ${error.status}`),
        onGoneBack: () => tell("gone back"),
      };
      const until = (line: string) => (told.includes(line) ? Promise.resolve() : new Promise<void>((resolve) => waiting.push({ line, resolve })));
      return { told, handler, until };
    }

    it("lists in pages, watches from there, and after 410 tells by UID what went away or was made again", async () => {
      let lists = 0;
      const queries: string[] = [];
      const { client } = await serve((stream, headers) => {
        const url = new URL(String(headers[":path"]), "http://x");
        if (url.searchParams.get("watch")) {
          queries.push(url.search);
          stream.respond({ ":status": 200 });
          if (queries.length > 1) return;
          stream.write(
            `${JSON.stringify({ type: "ADDED", object: { ...item("c", "3"), metadata: { ...item("c", "3").metadata, resourceVersion: "12" } } })}\n`,
          );
          stream.end(`${JSON.stringify({ type: "ERROR", object: { code: 410, message: "too old", metadata: {} } })}\n`);
          return;
        }
        if (url.searchParams.get("continue")) return json(stream, 200, { items: [item("b", "2")], metadata: { resourceVersion: "10" } });
        lists += 1;
        if (lists === 1) json(stream, 200, { items: [item("a", "1")], metadata: { continue: "more", resourceVersion: "10" } });
        else json(stream, 200, { items: [item("a", "1"), item("b", "22")], metadata: { resourceVersion: "20" } });
      });
      const { told, handler, until } = record();
      const reflector = new Reflector({ client, clock: new ClusterClock(client), resource, labelSelector: "x", handler, log: silentLog });
      const running = reflector.run();
      await until("-c/3");
      await until("+b/22");
      reflector.stop();
      await running;
      expect(told).toEqual(["+a/1", "+b/2", "listed", "+c/3", "+a/1", "-b/2", "+b/22", "-c/3", "listed"]);
      expect(queries[0]).toMatch(/allowWatchBookmarks=true&timeoutSeconds=\d+&resourceVersion=10&labelSelector=x/);
    });

    it("passes over the echo of a write whose answer is known, and goes on from its version", async () => {
      const event = (name: string, uid: string, version: string) =>
        `${JSON.stringify({ type: "MODIFIED", object: { kind: "ConfigMap", apiVersion: "v1", metadata: { name, namespace: "n", uid, resourceVersion: version, generation: 1 } } })}\n`;
      const resumed: (string | null)[] = [];
      const { client } = await serve((stream, headers) => {
        const url = new URL(String(headers[":path"]), "http://x");
        if (url.pathname.includes("flotilla-system")) return json(stream, 200, { items: [], metadata: { resourceVersion: "99" } });
        if (!url.searchParams.get("watch")) return json(stream, 200, { items: [], metadata: { resourceVersion: "10" } });
        resumed.push(url.searchParams.get("resourceVersion"));
        stream.respond({ ":status": 200 });
        if (resumed.length > 1) return void stream.write(event("known", "8", "71"));
        stream.write(event("known", "7", "69"));
        stream.end(event("known", "7", "70"));
      });
      const { told, handler, until } = record();
      const reflector = new Reflector({ client, clock: new ClusterClock(client), resource, labelSelector: "x", handler, log: silentLog });
      const running = reflector.run();
      await until("+known/8");
      reflector.stop();
      await running;
      expect(told).toEqual(["listed", "+known/7", "-known/7", "+known/8"]);
      expect(resumed).toEqual(["10", "70"]);
    });

    it("lists again when the API server is behind what was seen (fault 13), and says so once", async () => {
      let newest = 500;
      const asked: string[] = [];
      const { client } = await serve((stream, headers, session) => {
        const url = new URL(String(headers[":path"]), "http://x");
        const isWatch = url.searchParams.get("watch") !== null;
        asked.push(url.pathname.includes("flotilla-system") ? "newest" : isWatch ? `watch ${url.searchParams.get("resourceVersion")}` : "list");
        if (!isWatch) return json(stream, 200, { items: [item("a", String(newest))], metadata: { resourceVersion: String(newest) } });
        if (newest < 500) return stream.respond({ ":status": 200 });
        newest = 300;
        session.destroy();
      });
      const { told, handler, until } = record();
      const reflector = new Reflector({ client, clock: new ClusterClock(client), resource, labelSelector: "x", handler, log: silentLog });
      const running = reflector.run();
      await until("+a/300");
      await until("gone back");
      reflector.stop();
      await running;
      expect(asked.slice(0, 4)).toEqual(["list", "watch 500", "newest", "list"]);
      expect(told.filter((line) => line !== "listed")).toEqual(["+a/500", "gone back", "-a/500", "+a/300"]);
    });

    it("is not hurried by a server that refuses its watches", async () => {
      const watches: number[] = [];
      const second = Promise.withResolvers<void>();
      const { client } = await serve((stream, headers) => {
        const url = new URL(String(headers[":path"]), "http://x");
        if (url.searchParams.get("watch") === null) return json(stream, 200, { items: [], metadata: { resourceVersion: "5" } });
        watches.push(performance.now());
        if (watches.length === 2) second.resolve();
        json(stream, 429, { message: "storage is initializing" }, { "retry-after": "1" });
      });
      const { handler } = record();
      const reflector = new Reflector({ client, clock: new ClusterClock(client), resource, labelSelector: "x", handler, log: silentLog });
      const running = reflector.run();
      await second.promise;
      reflector.stop();
      await running;
      expect((watches[1] ?? 0) - (watches[0] ?? 0)).toBeGreaterThan(1_200);
    });

    it("says that it is blind when it may not look, and looks again later", async () => {
      const { client } = await serve((stream) => json(stream, 403, { message: "configmaps is forbidden" }));
      const { handler, until } = record();
      const reflector = new Reflector({ client, clock: new ClusterClock(client), resource, labelSelector: "x", handler, log: silentLog });
      const running = reflector.run();
      await until("blind 403");
      await reflector.firstListed;
      expect(reflector.isListed).toBe(false);
      reflector.stop();
      await running;
    });
  });
});
