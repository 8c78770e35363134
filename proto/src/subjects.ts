/** NATS subjects and stream names. A cluster's name is an RFC 1123 label, so it is one subject token. */

export const reportStream = "FLOTILLA_REPORTS";
export const reportConsumer = "intake";
const reportPrefix = "flotilla.report";

/** Every report subject: what the stream takes in. */
export const reportSubjects = `${reportPrefix}.*`;

/** The one subject that a cluster may publish to. */
export function reportSubject(cluster: string): string {
  return `${reportPrefix}.${cluster}`;
}

/** The cluster that a report subject names, or undefined. */
export function clusterOfSubject(subject: string): string | undefined {
  const prefix = `${reportPrefix}.`;
  if (!subject.startsWith(prefix)) return undefined;
  const cluster = subject.slice(prefix.length);
  return cluster.includes(".") || cluster === "" ? undefined : cluster;
}

/** Inbox prefix of a cluster's broker user: nobody else can listen to its replies. */
export function inboxPrefix(cluster: string): string {
  return `_INBOX_${cluster}`;
}

/** Nats-Msg-Id of a report. The round grows when the agent publishes its outbox again, so that the broker's window does not swallow it. */
export function reportMessageId(cluster: string, epoch: string, seq: bigint, round: number): string {
  return `${cluster}/${epoch}/${seq}/${round}`;
}
