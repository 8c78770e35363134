/**
 * Every bound that hub and agent share, each with its reason. A number that only one side uses lives in that side's
 * own limits file.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Version of the contract in proto/fleet/v1. A hub serves this one and the one before. */
export const protocolVersion = 1;

/** Largest gRPC message either side accepts: a chunk and its frame, four times over. */
export const maxGrpcMessageBytes = 4 * MiB;

/** Bodies of one dry run, compressed: they travel in one message. */
export const maxDryRunBodyBytes = 3 * MiB;
/** Objects and bytes of the answer to a dry run; more are counted only. */
export const maxDryRunObjects = 500;
export const maxDryRunAnswerBytes = 1 * MiB;

/** One part of a body: small enough that a heartbeat never waits behind more than one. */
export const maxChunkBytes = 1 * MiB;

/** Digests in one body request: a fleet's bundles, with room. */
export const maxBodiesPerRequest = 1_000;

/** A body that the hub sends before its target, because it knows what the agent holds: small, so that one which is held after all costs little. */
export const maxUnaskedBodyBytes = 64 * KiB;

/** So many for one target; an agent that lacks more asks for what it lacks. */
export const maxUnaskedBodies = 8;

/** One compressed body. 20 MB of YAML compress to about 2 MB; beyond this a bundle should be split. */
export const maxBodyBytes = 32 * MiB;

/** One bundle's objects before compression: bounds the memory that a decompression can take. */
export const maxUnpackedBodyBytes = 256 * MiB;

/** Objects in one bundle. */
export const maxObjectsPerBundle = 20_000;

/** One object as JSON: etcd refuses requests over 1.5 MiB. */
export const maxObjectBytes = 1_500_000;

/** Bundles in one target: the target message stays under 1 MiB. */
export const maxBundlesPerTarget = 1_000;

/** One NATS message: the broker's own `max_payload`. */
export const maxReportBytes = 1_000_000;

/** Object rows in one report or snapshot part: with messages cut to maxMessageChars this stays under maxReportBytes. */
export const maxObjectsPerReport = 500;

/** Events in one report. */
export const maxEventsPerReport = 200;

/** Any line for people inside a report; longer ones are cut. */
export const maxMessageChars = 512;

/** Drifted fields told per object, and the length of one value. */
export const maxDriftFieldsPerObject = 20;
export const maxDriftValueChars = 256;

/** Facts and labels of one cluster. Kubernetes' own label sizes apply to keys and values. */
export const maxFactsPerCluster = 64;
export const maxLabelsPerCluster = 64;

/** A few bytes every 15 s. Two misses end the stream, and ten seconds of patience for a peer that is busy; the hub's side ends it before the cluster's lease does. */
export const heartbeatIntervalMs = 15_000;
export const heartbeatDeadlineMs = 40_000;

/** Pings of gRPC, for a connection whose stream is not there yet or no more: where a stream is, heartbeats come first. */
export const keepaliveMs = 60_000;
export const keepaliveDeadlineMs = 10_000;

/** How long the last word of a cluster counts. Past it everything about the cluster is Unknown. */
export const clusterLeaseMs = 45_000;

/** Reconnect: exponential from the first to the second, or to what the hub said in Welcome when that is more; full jitter after the cap. */
export const reconnectMinMs = 500;
export const reconnectMaxMs = 30_000;

/** A clock that is off by more than this is told: NTP keeps clocks closer, and a slow handshake makes about as much. */
export const clockWorthTellingMs = 10_000;

/** Client certificates: a day; renewed at two thirds of it. Not-before is set back: two hubs' clocks may differ. */
export const certificateLifetimeMs = 24 * 3_600_000;
export const certificateBackdateMs = 5 * 60_000;

/** CAs that an agent takes as trusted: twice what a hub has at a time. */
export const maxTrustedCas = 8;

/** Enrolment tokens: an hour at most, an hour by default. */
export const enrolTokenLifetimeMs = 3_600_000;
export const enrolTokenLifetimeMaxMs = 24 * 3_600_000;

/** Broker users live as long as certificates. */
export const brokerUserLifetimeMs = 24 * 3_600_000;

/** A command that nobody fetched within this time is void. */
export const commandLifetimeMs = 5 * 60_000;

/** Default time an object may stay InProgress before it counts as Failed. */
export const defaultHealthTimeoutMs = 5 * 60_000;

/**
 * How long each phase of a bundle's sync may take before it counts as late: a definition is established within seconds, an image pull and a
 * rollout take minutes, a migration may take more, a dependency has phases of its own.
 */
export const defaultDeadlinesMs = {
  definitions: 60_000,
  hook: 10 * 60_000,
  stage: 10 * 60_000,
  dependsOn: 30 * 60_000,
  apply: 60 * 60_000,
} as const;

/** G6: a target may prune max(this many, this percent of its objects) without approval. */
export const defaultPruneBudget = { objects: 5, percent: 10 } as const;

/** G16: corrections of one object within the window before it counts as a fight. */
export const maxHealsPerWindow = 5;
export const healWindowMs = 10 * 60_000;

/** A revision that nobody renders again may lose its bodies after this many newer ones. */
export const revisionsKeptPerFleet = 50;
