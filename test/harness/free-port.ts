import { randomInt } from "node:crypto";
import { freePort as freeOrAnother } from "@flotilla/hub/embedded/free-port";

/** Below the ports that a hub chooses for its own servers (from 20,000), in slices: test files that run at the same time never take one another's. */
const lowestPort = 10_000;
const slices = 20;
const portsPerSlice = 500;

const slice = Number(process.env["VITEST_POOL_ID"] ?? process.pid) % slices;

/** What was given lately: its server may not listen yet. */
const given: number[] = [];
const remembered = 250;

/** A port of loopback that nobody listens on, and that was not given lately. Who is killed finds it free when it starts again. */
export async function freePort(): Promise<number> {
  for (let look = 0; look < portsPerSlice; look += 1) {
    const port = lowestPort + slice * portsPerSlice + randomInt(portsPerSlice);
    if (given.includes(port)) continue;
    given.push(port);
    if (given.length > remembered) given.shift();
    if ((await freeOrAnother("127.0.0.1", port)) === port) return port;
  }
  throw new Error(`no free port in slice ${slice} from ${lowestPort + slice * portsPerSlice}`);
}
