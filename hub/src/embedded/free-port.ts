import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * Ports that servers of ours choose from: below those that systems give to outgoing connections (Linux: 32768 up), so that none takes one
 * between our look and the server's own, and below Kubernetes' node ports (30000 up).
 */
const lowestPort = 20_000;
const highestPort = 29_999;

/** Random looks before the kernel is asked: that many busy ones in a row mean that the range is full. */
const looksMax = 50;

/** A port nobody listens on: the preferred one while it is free, else a random one. */
export async function freePort(host = "127.0.0.1", preferred = 0): Promise<number> {
  if (preferred > 0 && (await isFree(host, preferred))) return preferred;
  for (let look = 0; look < looksMax; look++) {
    const port = randomInt(lowestPort, highestPort + 1);
    if (await isFree(host, port)) return port;
  }
  return (await tryPort(host, 0)) ?? Promise.reject(new Error(`no free port on ${host}`));
}

/** Starts tried on different ports when somebody else was faster each time. */
const startsMax = 3;

/**
 * Start a server on a free port. Between our look and the server's own somebody may take it: a start that failed on a port that is
 * busy by then is tried on another.
 *
 * @throws what `start` threw last.
 */
export async function startOnFreePort<Server>(
  host: string,
  preferred: number,
  start: (port: number) => Promise<Server>,
): Promise<{ readonly port: number; readonly server: Server }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(host, attempt === 1 ? preferred : 0);
    try {
      return { port, server: await start(port) };
    } catch (error) {
      if (attempt >= startsMax || (await isFree(host, port))) throw error;
    }
  }
}

async function isFree(host: string, port: number): Promise<boolean> {
  return (await tryPort(host, port)) === port;
}

function tryPort(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const chosen = typeof address === "object" && address ? address.port : undefined;
      server.close(() => resolve(chosen));
    });
  });
}
