import { mkdir } from "node:fs/promises";
import { kubeconfigEndpoint } from "@flotilla/agent/cluster/kubeconfig-endpoint";
import { silentLog } from "@flotilla/agent/log";
import { runAgent } from "@flotilla/agent/run-agent";
import { revokeCredentials } from "@flotilla/hub/store/enrolment-store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SimulatedCluster, startSimulatedCluster } from "../harness/simulated/simulated-cluster.ts";
import { startTcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";
import { type LinkRig, type Replica, startLinkRig } from "./link-rig.ts";

let rig: LinkRig;
let hub: Replica;
let cluster: SimulatedCluster;

beforeAll(async () => {
  rig = await startLinkRig();
  hub = await rig.replica();
  cluster = await startSimulatedCluster({ name: "away" });
});

afterAll(async () => {
  await cluster?.stop();
  await rig?.stop();
});

/** One life of the agent, as its program lives it, with what its warnings said. */
async function agentWith(token: string, as: "file" | "secret", enrolAt = `localhost:${hub.enrolment.port}`) {
  const stopping = new AbortController();
  let connected = 0;
  const warnings: string[] = [];
  const stateDir = rig.folder(`agent-${as}`);
  await mkdir(stateDir, { recursive: true });
  const done = runAgent({
    hub: enrolAt,
    token,
    caHash: rig.ca.caHash,
    cluster: `away-${as}`,
    stateDir,
    identity: as,
    endpoint: await kubeconfigEndpoint(cluster.kubeconfig),
    log: { ...silentLog, warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`) },
    stopping: stopping.signal,
    onLink: (what) => (connected += what === "connected" ? 1 : 0),
  });
  return {
    warnings,
    isConnected: () => connected > 0,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

const certificates = async (name: string): Promise<number> =>
  (await rig.pool.query("SELECT count(*)::integer AS count FROM certificates WHERE cluster = $1", [name])).rows[0].count;

describe.each(["secret", "file"] as const)("an agent that is started again, its identity in a %s (fault 34)", (as) => {
  const name = `away-${as}`;
  let token: string;

  it("goes on with the identity that its token was traded for", async () => {
    token = await rig.addCluster(name);
    for (const life of [1, 2]) {
      const agent = await agentWith(token, as);
      await waitFor(agent.isConnected, { what: `life ${life}` });
      await agent.stop();
      expect(agent.warnings.filter((warning) => warning.includes("token"))).toEqual([]);
    }
    expect(await certificates(name)).toBe(1);
  });

  it("goes on with it when it is given a token that is of no use, and asks once", async () => {
    for (const told of [1, 0]) {
      const agent = await agentWith("0".repeat(token.length), as);
      await waitFor(agent.isConnected, { what: "the stream" });
      await agent.stop();
      expect(agent.warnings.filter((warning) => warning.includes("going on with the identity"))).toHaveLength(told);
    }
  });

  it("comes back by a new token when the hub does not take its certificate any more", async () => {
    await revokeCredentials(rig.pool, name);
    const refused = await agentWith(token, as);
    await waitFor(() => refused.warnings.some((warning) => warning.includes("the hub refuses this agent")), { what: "the refusal" });
    await refused.stop();
    const back = await agentWith(await rig.addCluster(name), as);
    await waitFor(back.isConnected, { what: "the agent with a new token" });
    await back.stop();
    expect(await certificates(name)).toBe(2);
  });

  it("comes back by a new token also when the hub could not be asked about it at first", async () => {
    await revokeCredentials(rig.pool, name);
    const wire = await startTcpProxy({ target: { host: "127.0.0.1", port: hub.enrolment.port } });
    try {
      wire.cutOff();
      const agent = await agentWith(await rig.addCluster(name), as, `127.0.0.1:${wire.port}`);
      await waitFor(() => agent.warnings.some((warning) => warning.includes("the hub refuses this agent")), { what: "the refusal of the old certificate" });
      wire.heal();
      await waitFor(agent.isConnected, { what: "the agent with a new token", timeoutMs: 60_000 });
      await agent.stop();
      expect(await certificates(name)).toBe(3);
    } finally {
      await wire.stop();
    }
  });
});
