import { createServer } from "node:net";

/** A port nobody listens on: the preferred one while it is free, else one the kernel picks. */
export async function freePort(host = "127.0.0.1", preferred = 0): Promise<number> {
  return (await tryPort(host, preferred)) ?? (await tryPort(host, 0)) ?? Promise.reject(new Error(`no free port on ${host}`));
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
