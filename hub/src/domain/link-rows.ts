import type { EndedGate, GateAnswer, GateQuestion } from "./gates.ts";
import type { DryRunAnswer, DryRunQuestion } from "./preview.ts";
import type { OverrideRow, SuspensionRow } from "./suspension.ts";
import type { TargetApproval, TargetBundle } from "./target.ts";

/** A target as it was released, ready to be sent. */
export interface ReleasedTarget {
  readonly fleet: string;
  readonly cluster: string;
  readonly generation: bigint;
  readonly revision: string;
  readonly digest: string;
  readonly bundles: readonly TargetBundle[];
  readonly tombstone: "orphan" | "delete" | null;
  readonly traceparent: string | null;
  readonly releasedAt: Date;
  readonly pruneApproval: TargetApproval | null;
  /** Suspensions and overrides that concern this target or bundles of it. */
  readonly suspensions?: readonly SuspensionRow[];
  readonly overrides?: readonly OverrideRow[];
}

/** What an agent holds of a fleet. */
export interface HeldTargetRow {
  readonly cluster: string;
  readonly fleet: string;
  readonly generation: bigint;
  readonly digest: string;
  /** When the target that it holds was released; undefined when the agent does not say. */
  readonly releasedAt?: Date | undefined;
}

/** What an agent says of itself when its stream opens, and the certificate that it came with. */
export interface SessionOpening {
  readonly cluster: string;
  /** Serial of the client certificate, lower-case hex. */
  readonly serial: string;
  readonly hubId: string;
  readonly epoch: string;
  readonly agentVersion: string;
  readonly kubernetesVersion: string;
  readonly facts: Readonly<Record<string, string>>;
  /** Hashes of the CAs that it trusts; none of an agent of the version before. */
  readonly caHashes: readonly string[];
}

/** The CAs that an agent has kept as trusted, told over one stream. */
export interface KeptTrust {
  readonly cluster: string;
  readonly session: bigint;
  readonly caHashes: readonly string[];
}

/** One stream: the cluster's session number, and the certificate it came with. */
export interface SessionKey {
  readonly cluster: string;
  readonly session: bigint;
  readonly serial: string;
}

/** Names of clusters whose streams should look at their rows. */
export interface WaitingClusters {
  readonly commands: readonly string[];
  readonly states: readonly string[];
}

/** What the rows say about a stream that is open. */
export interface LinkState {
  readonly cluster: string;
  /** The session that this state was asked for. */
  readonly session: bigint;
  /** The cluster was removed, or the certificate revoked. */
  readonly isRevoked: boolean;
  /** A newer stream of the same cluster took its place, here or at another replica. */
  readonly isSuperseded: boolean;
  readonly epoch: string;
  readonly watermark: bigint;
  readonly wantsSnapshot: boolean;
  readonly wantsResend: boolean;
}

/** What an agent said to a command: "" when it was done, else why not; and the answer to a question. */
export interface CommandAnswer {
  readonly error: string;
  readonly gate?: Pick<GateAnswer, "verdict" | "message">;
  readonly dryRun?: DryRunAnswer;
}

/** An act that waits for its cluster. */
export interface PendingCommand {
  readonly id: string;
  readonly cluster: string;
  readonly kind: "sync" | "snapshot" | "renew" | "gate" | "end-gate" | "dry-run";
  readonly fleet: string;
  readonly expiresAt: Date;
  /** Of a sync: one bundle, single objects, also what is unchanged. */
  readonly bundle?: string;
  readonly objects?: readonly string[];
  readonly force?: boolean;
  /** Of a gate. */
  readonly question?: GateQuestion | null;
  /** Of the end of a gate. */
  readonly ended?: EndedGate | null;
  /** Of a dry run, with the bodies that the cluster does not hold. */
  readonly dryRun?: DryRunQuestion & { readonly contents: ReadonlyMap<string, Uint8Array> };
}

/** The step "send" of a revision's path to one cluster. */
export interface SendPhase {
  readonly fleet: string;
  readonly revision: string;
  readonly cluster: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly error: string;
  readonly spanId: string;
}

/** A certificate as it is recorded. */
export interface IssuedCertificate {
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly cluster: string;
  /** SHA-256 (hex) of the public key. */
  readonly spkiHash: string;
  readonly notAfter: Date;
  /** Hash of the CA that signed it. */
  readonly authority: string;
}

/** A broker user whose rights ended before its time. */
export interface RevokedBrokerUser {
  readonly publicKey: string;
  readonly revokedAt: Date;
}
