import { reportStream, reportSubjects } from "@flotilla/proto/subjects";
import { DiscardPolicy, jetstreamManager, RetentionPolicy, StorageType, type StreamInfo } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { reportDuplicatesMs, reportStreamAgeMs, reportsPerClusterMax, reportStreamBytesMax } from "../limits.ts";

/**
 * Makes the stream that takes in every cluster's reports, or brings an older one's settings up to date. Its creation time tells
 * the intake whether the broker lost its store. What is full refuses the new (agents keep it), never drops the old.
 */
export async function ensureReportStream(connection: NatsConnection): Promise<StreamInfo> {
  const { streams } = await jetstreamManager(connection, { checkAPI: false });
  const found = await streams.info(reportStream).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 10_059 || /stream not found/i.test((error as Error).message)) return undefined;
    throw error;
  });
  if (found !== undefined) return isCurrent(found) ? found : await streams.update(reportStream, changeable);
  return await streams.add({
    name: reportStream,
    subjects: [reportSubjects],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    deny_delete: true,
    // The intake purges what Postgres has; without it the stream would fill up and refuse reports.
    deny_purge: false,
    allow_direct: false,
    ...changeable,
  });
}

const changeable = {
  discard: DiscardPolicy.New,
  max_bytes: reportStreamBytesMax,
  max_msgs_per_subject: reportsPerClusterMax,
  discard_new_per_subject: true,
  max_age: nanos(reportStreamAgeMs),
  duplicate_window: nanos(reportDuplicatesMs),
  description: "Reports of Flotilla's agents; the hub's Postgres is their record",
};

function isCurrent({ config }: StreamInfo): boolean {
  const settings = config as unknown as Record<string, unknown>;
  return Object.entries(changeable).every(([key, value]) => settings[key] === value);
}
