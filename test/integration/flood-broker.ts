import { parentPort, workerData } from "node:worker_threads";
import { create, toBinary } from "@bufbuild/protobuf";
import { Health, ReportEnvelopeSchema, SyncState } from "@flotilla/proto/gen/report";
import { reportMessageId, reportSubject } from "@flotilla/proto/subjects";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";

/** What a worker thread is told that publishes one cluster's reports as fast as it may; it says `{ taken, refused }` every tenth of a second, until it is ended. */
export interface FloodOrder {
  readonly url: string;
  readonly cluster: string;
  readonly epoch: string;
  readonly perSecond: number;
}

const { url, cluster, epoch, perSecond } = workerData as FloodOrder;
const client = jetstream(await connect({ servers: url }));

function reportOf(seq: number): Uint8Array {
  const summary = { sync: SyncState.SYNCED, health: Health.CURRENT, message: `seq ${seq}`, objects: 1 };
  const value = { fleet: "shop", generation: 1n, revision: "abcdef", summary, events: [{ reason: "Crashed", message: `seq ${seq}` }] };
  const place = { cluster, epoch, seq: BigInt(seq), firstSeq: BigInt(seq), recordedAt: { seconds: BigInt(seq), nanos: 0 } };
  return toBinary(ReportEnvelopeSchema, create(ReportEnvelopeSchema, { ...place, report: { case: "fleet", value } }));
}

let [seq, taken, refused] = [0, 0, 0];
async function publishNext(): Promise<void> {
  seq += 1;
  const sent = headers();
  sent.set("Nats-Msg-Id", reportMessageId(cluster, epoch, BigInt(seq), 0));
  await client.publish(reportSubject(cluster), reportOf(seq), { headers: sent }).then(
    () => (taken += 1),
    () => (refused += 1),
  );
}

for (let dueAt = performance.now(); ; dueAt = Math.max(dueAt + 100, performance.now() - 1_000)) {
  await Promise.all(Array.from({ length: perSecond / 10 }, publishNext));
  parentPort?.postMessage({ taken, refused });
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt + 100 - performance.now())));
}
