import type { Server, ServerCredentials } from "@grpc/grpc-js";

/**
 * Listens; gives the port, which the system picks for 0.
 *
 * @throws Error that names the address when it cannot be listened on.
 */
export function bindServer(server: Server, host: string, port: number, credentials: ServerCredentials): Promise<number> {
  const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => {
      if (error) reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
      else resolve(bound);
    });
  });
}
