import { connect, type NatsConnection, type TlsOptions } from "@nats-io/transport-node";
import type { RevokedBrokerUser } from "../domain/link-rows.ts";
import { brokerRequestMs, brokerRetryMs, hintPollMs } from "../limits.ts";
import type { BrokerIdentity, BrokerOperator } from "./broker-identity.ts";
import type { StreamLog } from "./stream-log.ts";

export interface ClaimsPusherOptions {
  readonly identity: BrokerIdentity;
  /** NATS URLs. */
  readonly servers: readonly string[];
  readonly tls?: TlsOptions;
  /** Users whose rights ended before their time, as the rows say now. */
  readRevoked(): Promise<readonly RevokedBrokerUser[]>;
  /** Told when the claims changed: an embedded nats-server writes them into its configuration, so that a restart keeps them. */
  onClaims?(operator: BrokerOperator): Promise<void>;
  readonly log: StreamLog;
}

export interface ClaimsPusher {
  /** Look now: something was revoked. */
  hint(): void;
  close(): Promise<void>;
}

/**
 * Keeps the broker's account at what the rows say: revoked users are cut off at once. Pushes after every change and every
 * connect, because a server that was restarted may know an older account; looks every hintPollMs also without a hint. Does
 * nothing where the account is not ours.
 */
export function startClaimsPusher(options: ClaimsPusherOptions): ClaimsPusher {
  const { operator } = options.identity;
  if (operator === undefined) return { hint: () => undefined, close: () => Promise.resolve() };
  const stop = new AbortController();
  let wake: () => void = () => undefined;
  let isHinted = false;
  let connection: NatsConnection | undefined;
  /** Revocations that the connected server took last; undefined until it took any over this connection. */
  let pushed: string | undefined;
  let written: string | undefined;

  const run = async () => {
    while (!stop.signal.aborted) {
      const waitMs = await step().then(
        () => hintPollMs,
        (error: unknown) => {
          if (!stop.signal.aborted) options.log.warn({ error: (error as Error).message }, "revocations could not be pushed to the broker; trying again");
          return brokerRetryMs;
        },
      );
      await pause(waitMs);
    }
    await connection?.close().catch(() => undefined);
  };
  const step = async () => {
    isHinted = false;
    const revoked = await options.readRevoked();
    const wanted = JSON.stringify(revoked.map(({ publicKey, revokedAt }) => [publicKey, revokedAt.getTime()]));
    if (wanted !== written && (written !== undefined || revoked.length > 0)) await options.onClaims?.(await operator.claims(revoked));
    written = wanted;
    connection ??= await open();
    if (wanted === pushed) return;
    if (connection.info?.auth_required !== true) {
      options.log.warn({}, "the broker asks nobody who they are: agents' rights there are not enforced");
      pushed = wanted;
      return;
    }
    const claims = await operator.claims(revoked);
    for (const { id, jwt } of claims.accounts.filter((account) => account.id === options.identity.accountId)) {
      const answer = await connection.request(`$SYS.REQ.ACCOUNT.${id}.CLAIMS.UPDATE`, jwt, { timeout: brokerRequestMs });
      const { error } = answer.json<{ error?: { description?: string } }>();
      if (error) throw new Error(error.description ?? "the broker refused the account's claims");
    }
    pushed = wanted;
  };
  const open = async (): Promise<NatsConnection> => {
    const opened = await connect({
      servers: [...options.servers],
      authenticator: operator.systemAuthenticator(),
      name: "flotilla-hub claims",
      reconnect: false,
      timeout: brokerRequestMs,
      ...(options.tls && { tls: options.tls }),
    });
    void opened.closed().then(() => {
      if (connection !== opened) return;
      connection = undefined;
      pushed = undefined;
      wake();
    });
    return opened;
  };
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      if (stop.signal.aborted || isHinted) return resolve();
      const timer = setTimeout(resolve, ms);
      wake = () => (clearTimeout(timer), resolve());
    });
  const done = run();
  return {
    hint() {
      isHinted = true;
      wake();
    },
    async close() {
      stop.abort();
      wake();
      await done;
    },
  };
}
