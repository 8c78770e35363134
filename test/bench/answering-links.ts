import { create } from "@bufbuild/protobuf";
import { setTimeout as delay } from "node:timers/promises";
import { enrol, EnrolError } from "@flotilla/agent/link/enrol";
import { type Identity, type Link, openLink } from "@flotilla/agent/link/link";
import { idOnlyTracer } from "@flotilla/agent/telemetry";
import { DryRunAction, DryRunObjectSchema, type DryRunResult, DryRunResultSchema } from "@flotilla/proto/gen/link";
import type { Target } from "@flotilla/proto/gen/target";
import type { HubApi } from "../harness/hub-api.ts";

const log = { debug() {}, info() {}, warn() {}, error() {} };

/** Agents without a cluster: real enrolment and the agent's own link to the hub, which take every target, and answer every dry run at once, and always the same. */
export async function openAnsweringLinks(
  api: HubApi,
  count: number,
  labels: Record<string, string>,
  objects: readonly { readonly object: string; readonly bundle: string }[],
  /** Told of each target when a link holds it with its bodies. */
  onTarget: (cluster: string, target: Target) => void = () => undefined,
): Promise<{ close(): Promise<void> }> {
  const links: Link[] = [];
  const answer = answerOf(objects);
  const names = Array.from({ length: count }, (_, index) => `link-${String(index).padStart(4, "0")}`);
  const open = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const cluster = name;
      const { enrolAddress, token, caHash } = await api.addCluster(cluster, labels);
      let identity = await patiently(() => enrol({ address: enrolAddress, token, caHash, agentVersion: "bench", tracer: idOnlyTracer }));
      const held = new Map<string, Target>();
      const bodies = new Set<string>();
      links.push(
        openLink({
          identity,
          identityStore: { load: async () => identity, save: async (next) => void (identity = next) },
          bodies: { has: (digest) => bodies.has(digest), put: async (digest) => void bodies.add(digest) },
          outbox: { epoch: "0".repeat(32), newestSeq: 0n, oldestSeq: 0n, acknowledge: async () => false },
          log,
          agentVersion: "bench",
          tracer: idOnlyTracer,
          handlers: {
            onTarget: (target) => {
              held.set(target.fleet, target);
              onTarget(cluster, target);
            },
            onCommand: async ({ kind }) => (kind.case === "dryRun" ? { dryRun: answer } : undefined),
            onConnected: () => undefined,
            onDisconnected: () => undefined,
            held: () => [...held.values()].map(({ fleet, generation, digest }) => ({ $typeName: "fleet.v1.HeldTarget", fleet, generation, digest })),
            facts: () => ({}),
            kubernetesVersion: () => "v1.36.3",
          },
        }),
      );
    }
  };
  await Promise.all(Array.from({ length: 8 }, open));
  return { close: async () => void (await Promise.all(links.map((link) => link.close()))) };
}

/** The hub takes so many enrolments of one address a second. */
async function patiently(join: () => Promise<Identity>): Promise<Identity> {
  for (;;) {
    try {
      return await join();
    } catch (error) {
      if (!(error instanceof EnrolError && error.code === "TooMany")) throw error;
      await delay(500);
    }
  }
}

function answerOf(objects: readonly { readonly object: string; readonly bundle: string }[]): DryRunResult {
  const changed = objects.map((object) =>
    create(DryRunObjectSchema, { ...object, action: DryRunAction.CONFIGURE, fields: [{ path: "/data/value", before: '"0"', after: '"1"' }] }),
  );
  return create(DryRunResultSchema, { objects: changed, unchanged: 190, effect: "e".repeat(64) });
}
