import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { freePort, startOnFreePort } from "./free-port.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listenOn(port: number): Promise<Server> {
  const server = createServer();
  servers.push(server);
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

describe("freePort", () => {
  it("gives the preferred port while it is free, and another when it is not", async () => {
    const preferred = await freePort();
    expect(await freePort("127.0.0.1", preferred)).toBe(preferred);
    await listenOn(preferred);
    expect(await freePort("127.0.0.1", preferred)).not.toBe(preferred);
  });

  it("stays below the ports of outgoing connections and node ports", async () => {
    for (let i = 0; i < 20; i++) expect(await freePort()).toSatisfy((port: number) => port >= 20_000 && port < 30_000);
  });
});

describe("startOnFreePort", () => {
  it("tries another port when somebody was faster", async () => {
    const tried: number[] = [];
    const { port, server } = await startOnFreePort("127.0.0.1", 0, async (candidate) => {
      tried.push(candidate);
      if (tried.length === 1) {
        await listenOn(candidate);
        throw new Error("EADDRINUSE");
      }
      return "started";
    });
    expect(server).toBe("started");
    expect(tried).toHaveLength(2);
    expect(port).toBe(tried[1]);
  });

  it("does not hide a failure that has nothing to do with the port, nor try for ever", async () => {
    let starts = 0;
    await expect(startOnFreePort("127.0.0.1", 0, () => Promise.reject(new Error(`no data folder ${++starts}`)))).rejects.toThrow("no data folder 1");
    await expect(
      startOnFreePort("127.0.0.1", 0, async (candidate) => {
        await listenOn(candidate);
        throw new Error("taken");
      }),
    ).rejects.toThrow("taken");
  });
});
