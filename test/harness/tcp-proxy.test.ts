import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

describe("the TCP proxy of the harness", () => {
  let echo: Server;
  let proxy: TcpProxy;
  beforeEach(async () => {
    echo = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
    echo.listen(0, "127.0.0.1");
    await once(echo, "listening");
    proxy = await startTcpProxy({ target: { host: "127.0.0.1", port: (echo.address() as AddressInfo).port }, seed: 7 });
  });
  afterEach(async () => {
    await proxy.stop();
    echo.close();
  });

  async function open(): Promise<Socket> {
    const socket = connect(proxy.port, proxy.host);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  }
  async function say(socket: Socket, text: string): Promise<string> {
    socket.write(text);
    const [bytes] = (await once(socket, "data")) as [Buffer];
    return bytes.toString();
  }

  const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()));

  it("passes bytes both ways", async () => {
    const socket = await open();
    expect(await say(socket, "hello")).toBe("hello");
    socket.destroy();
  });

  it("holds bytes back and delivers them when it is healed", async () => {
    const socket = await open();
    expect(await say(socket, "a")).toBe("a");
    proxy.hold();
    let heard = "";
    socket.on("data", (bytes: Buffer) => (heard += bytes.toString()));
    socket.write("b");
    const other = await open();
    expect(other.readyState).toBe("open");
    expect(heard).toBe("");
    const next = once(socket, "data");
    proxy.heal();
    await next;
    expect(heard).toBe("b");
    socket.destroy();
    other.destroy();
  });

  it("freezes who is connected for good, and serves who comes later", async () => {
    const socket = await open();
    expect(await say(socket, "a")).toBe("a");
    proxy.freeze();
    let heard = "";
    socket.on("data", (bytes: Buffer) => (heard += bytes.toString()));
    socket.write("b");
    const other = await open();
    expect(await say(other, "c")).toBe("c");
    proxy.heal();
    expect(await say(other, "d")).toBe("d");
    expect(heard).toBe("");
    socket.destroy();
    other.destroy();
  });

  it("resets who is connected, and when cut off whoever comes", async () => {
    const socket = await open();
    await say(socket, "a");
    proxy.cutOff();
    await closed(socket);
    const refused = connect(proxy.port, proxy.host);
    refused.on("error", () => undefined);
    await closed(refused);
    proxy.heal();
    const again = await open();
    expect(await say(again, "c")).toBe("c");
    again.destroy();
  });

  it("cuts a connection after a number of bytes", async () => {
    proxy.cutAfter(3);
    const socket = await open();
    let heard = "";
    socket.on("data", (bytes: Buffer) => (heard += bytes.toString()));
    socket.write("abcdef");
    await closed(socket);
    expect("abc".startsWith(heard)).toBe(true);
  });

  it("delays by its latency", async () => {
    proxy.slowDown(60, 10);
    const socket = await open();
    const startedAt = performance.now();
    await say(socket, "x");
    expect(performance.now() - startedAt).toBeGreaterThan(95);
    socket.destroy();
  });
});
