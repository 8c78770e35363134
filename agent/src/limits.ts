/**
 * Bounds that only the agent uses, each with its reason. Numbers that the hub shares are in proto/src/limits.ts.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** The Kubernetes client. */
export const kubeLimits = {
  /** Longer than the API server's own 60 s, so that its answer is heard. */
  requestDeadlineMs: 65_000,
  connectDeadlineMs: 10_000,
  /** Rest after a failed connection: first, and at most. Hundreds of retries share one try. */
  connectRestMinMs: 200,
  connectRestMaxMs: 5_000,
  /** How often those who wait for a connection look: tries themselves rest as above. */
  reachableLookMs: 250,
  /** Watches that broke together ask once together whether the database went back in time. */
  clockAgeMs: 2_000,
  /** The newest version is asked for so often where an API server has just begun, each time after twice the wait. */
  clockTries: 3,
  clockRetryMs: 1_500,
  /** Nothing heard of a collection for this long: it is listed, not resumed. What it missed may be more than its watch can tell. */
  relistAfterMs: 10 * 60_000,
  /** API servers allow 100 streams on a connection at least; the rest is for requests. */
  watchesPerConnection: 60,
  /** What one connection may hold in frames: 16 answers and a few list pages. */
  sessionMemoryMiB: 64,
  /** 429 waits in the limiter; five refusals in a row are the caller's to know. */
  requestAttempts: 5,
  /** A page of large objects; etcd bounds one object at 1.5 MiB. */
  maxAnswerBytes: 128 * MiB,
  /** One watch event: one object, twice over for escapes. */
  maxWatchLineBytes: 8 * MiB,
  /** Flow-control window: a list page arrives without waiting for window updates. */
  windowBytes: 1 * MiB,
  /** A half-open connection is seen within interval and deadline together: 25 s. */
  pingIntervalMs: 15_000,
  pingDeadlineMs: 10_000,
  /** Discovery answers a miss anew at most this often. */
  discoveryMinAgeMs: 250,
  /** Objects per list page: a page of the largest objects seen (1 MB ConfigMaps) stays under maxAnswerBytes. */
  listPageSize: 100,
  /** Names and owners only: a page of them is small. */
  peekPageSize: 500,
  /** A namespace that is to be deleted is looked through; one with more than this is left to people. */
  maxPeekedObjects: 50_000,
  /** A server that pages for ever is broken: 20,000 pages are two million objects. */
  maxListPages: 20_000,
  /** Servers bookmark about once a minute; twice that and a little is a watch that died. */
  watchIdleMs: 135_000,
  /** Watches end by themselves after a random time between these, so that they spread over API servers. */
  watchMinSeconds: 300,
  watchMaxSeconds: 600,
  /** Between tries of one watch: full jitter under a doubling cap. */
  watchRetryMinMs: 1_000,
  watchRetryMaxMs: 30_000,
  /** A watch that lived this long was a good one: the next pause is short again. */
  watchStableMs: 10_000,
  /** When an API server is back, each collection is asked for at most `askedAfterOutage` times in so long; what it refused first is watched a little later. */
  afterOutageMs: 15_000,
  askedAfterOutage: 2,
  /** A read-check-delete that keeps losing to other writers is left to the next plan. */
  deleteAttempts: 3,
} as const;

/** State kept in the cluster. */
export const stateLimits = {
  /** A Secret holds 1 MiB in all; base64 takes a third. */
  bodyChunkBytes: 700 * KiB,
  /** Bodies up to this size share a Secret; its annotation names them, 65 bytes each. */
  sharedBodyBytes: 64 * KiB,
  bodiesPerSecret: 200,
  /** A shared Secret of which no more than this part is still named is written anew with what is. */
  sharedBodiesWorthKeeping: 0.25,
  /** Bodies kept in memory, compressed: a heal reads from here. */
  bodyCacheBytes: 4 * MiB,
  /** Unpacked bodies kept while a plan or a heal reads them. */
  openBodyBytes: 4 * MiB,
  openBodyMs: 5_000,
  /** A body that no target names may belong to one that is still on its way. */
  bodyGraceMs: 10 * 60_000,
  /** About 250 bytes an entry: a shard stays under 300 KB, far from etcd's 1.5 MiB also with the longest names. */
  entriesPerShard: 800,
  maxShardBytes: 1_000_000,
} as const;

/** The engine. */
export const engineLimits = {
  /** Fleets planned at once: each unpacks bodies. */
  fleetWorkers: 2,
  /** Objects healed or retried at once: they share the client's limit. */
  objectWorkers: 16,
  /** Keys waiting in one queue: every object of the largest cluster served. */
  maxQueueKeys: 200_000,
  /** A stale watch event is followed by the fresh one within this time: no request is spent on it. */
  suspicionMs: 20,
  /** What is awaited is on its way: its progress is looked at this often, its end at once. */
  awaitedMs: 500,
  /** Reports of one fleet are folded this long. */
  reportFoldMs: 50,
  /** So many come in a row at that pace, and in the long run one every reportSteadyMs: a report has a price of its own, whatever is in it. */
  reportsInARow: 8,
  reportSteadyMs: 250,
  /** While a plan is carried out, how far it is; its end is told at once. A hundred objects are a hundred changes, of which each could be a report. */
  reportProgressMs: 500,
  /** When more and more changes, a long plan tells it again after this part of the time that it has taken so far, and that often at least; what went wrong does not wait for it. */
  reportProgressShare: 0.25,
  reportProgressMaxMs: 5_000,
  /** And not before so many times as long as the last one took to make have passed since, up to a second: a storm of changes spends a tenth of the CPU on telling of it. */
  reportPatience: 10,
  reportFoldMaxMs: 1_000,
  /** So many changes of objects' health within stormFoldMs, in one fleet, are a storm: their sum is told at once, what becomes of each object when it is calm. */
  stormObjects: 100,
  stormFoldMs: 10_000,
  /** Whether it goes on is looked at so often: half the changes in half the time do. */
  stormLookMs: 5_000,
  /** It is over when it was not seen to go on for so long: where all of a machine changes, each object does every 15 s or so, and each word of it would be rows. */
  stormCalmMs: 20_000,
  /** What lasts is told this often: nobody is shown an object's health that is older. The sums, and what is broken, are not late at all. */
  stormFoldMaxMs: 120_000,
  /** Events of one fleet waiting for the outbox; what is over is counted and said. */
  maxPendingEvents: 10_000,
  /** Watches of single namespaces, where the agent may not watch all of them at once: each is a stream on the API server. */
  maxNamespaceWatches: 300,
  /** All namespaces were watched before and are refused now: an API server that starts refuses for moments what it grants. */
  refusalLastsMs: 60_000,
  /** After single namespaces are watched, all at once are asked for again: an agent may start before its rights are granted. Then no more: nothing is polled. */
  askAgainMs: [60_000, 600_000],
  /**
   * What left the target is not deleted for this long: it may be on its way to another fleet, whose target names it. A hub releases the targets of one commit within seconds.
   */
  handOverMs: 10_000,
  /** A prune that something is in the way of, or that failed, is tried again: first after, at most. */
  pruneRetryMinMs: 5_000,
  pruneRetryMaxMs: 5 * 60_000,
  /** UIDs of deleted objects, so that what they made is known for theirs: those of one large prune. */
  prunedUidsKept: 5_000,
  /** Objects whose corrections are remembered over a restart: those corrected last. */
  healedObjectsKept: 500,
  /** Fields of one correction that a pattern is looked for in. */
  fieldsPerCorrection: 10,
  /** Claims given up at once when a cluster leaves a fleet. */
  releaseWorkers: 8,
  /** A list that takes longer is reported, and the plan goes on without it. */
  observeDeadlineMs: 30_000,
  /** Unsettled inventory is written this long after the last single-object change. */
  settleMs: 250,
  /** A plan that failed as a whole (API server away, state not writable). */
  planRetryMinMs: 1_000,
  planRetryMaxMs: 30_000,
  /** One report stays under proto's maxReportBytes with its envelope. */
  reportBytes: 800_000,
  /** Messages of all bundles together, in one report. */
  bundleMessageChars: 100_000,
} as const;

/** Looking into objects that are not healthy. Together: never more than 4 requests in a quarter of a second, and none when nothing changes. */
export const explainLimits = {
  /** After an object stopped being healthy: the first look, and what passes between the looks after it. Images fail within half a minute, volumes within two; after the last nothing is asked until its health changes. */
  afterMs: [3_000, 10_000, 30_000, 120_000, 600_000],
  /** One that changes all the time is not looked at more often. */
  restMs: 10_000,
  /** Rest after each look. */
  betweenMs: 250,
  /** Objects explained at a time: nobody reads more reasons, and a cluster that is ill as a whole is not asked about each part. */
  objects: 50,
  /** Pods and events read of one object. */
  pods: 100,
  events: 50,
  /** Pods or events of a namespace that were refused are asked for again after this. */
  refusalMs: 10 * 60_000,
  refusalsKept: 1_000,
} as const;

/** The outbox and what publishes it. */
export const reportLimits = {
  /** Disk that unconfirmed reports may take: a busy cluster writes this in days without a hub. */
  outboxBytes: 64 * MiB,
  outboxRecords: 200_000,
  /** The outbox is an eighth of its bound at a time: what is dropped or confirmed goes by whole segments. */
  segmentsPerOutbox: 8,
  minSegmentBytes: 4 * KiB,
  /** Reports waiting for the disk; beyond it the caller is told. */
  pendingBytes: 8 * MiB,
  /** A disk that refuses is tried again. */
  diskRetryMs: 1_000,
  /** Messages published and not acknowledged by the broker. */
  window: 64,
  windowBytes: 4 * MiB,
  /** Records read from disk at a time. */
  readRecords: 64,
  readBytes: 2 * MiB,
  /** A broker that does not acknowledge within this is asked again. */
  ackMs: 5_000,
  /** Everything is published and the hub does not confirm it: published again after this, ever more slowly. */
  stallMinMs: 10_000,
  stallMaxMs: 5 * 60_000,
  brokerConnectMs: 5_000,
  brokerRetryMinMs: 250,
  brokerRetryMaxMs: 30_000,
  /** Rights that are younger are not asked for anew because the broker's certificate is not known: the hub gives so many. */
  rightsFreshMs: 20_000,
  /** Pings find a broker that vanished: within two of these. */
  brokerPingMs: 10_000,
} as const;

/** The link. */
export const linkLimits = {
  /** A hub that asks for more is misunderstood. */
  reconnectWithinMaxMs: 10 * 60_000,
  /** The longest wait before another try, for so many tries; then it is reconnectMaxMs. */
  reconnectSoonMs: 4_000,
  patientTries: 8,
  triesAfterGreeting: 3,
  /** TCP, TLS and Welcome together. */
  greetingMs: 15_000,
  /** A stream that lived this long was a good one: the next wait is short again. */
  stableMs: 10_000,
  /** Bodies asked for at a time: one, or as many small ones as fit. */
  bodiesInFlightBytes: 8 * MiB,
  /** A body that could not be kept (the API server is away) is asked for again. */
  bodyRetryMs: 5_000,
  /** Ids of commands that were carried out, so that one that comes twice is done once. */
  commandIdsKept: 1_000,
  callMs: 10_000,
  /** Renewal at two thirds of the certificate's life, a tenth earlier or later; failures are tried again. */
  renewAt: 2 / 3,
  renewJitter: 0.1,
  renewRetryMinMs: 30_000,
  renewRetryMaxMs: 5 * 60_000,
  /** CAs that could not be kept (the API server is away) are tried again; the hub counts them when they are kept. */
  trustRetryMs: 5_000,
  /** A CA's certificate has some 700 characters. */
  caTextCharsMax: 64 * 1024,
  /** Node's longest timer is 24 days; certificates are looked at more often. */
  renewLookMaxMs: 3_600_000,
  enrolMs: 20_000,
} as const;

/** What a preview asks of the cluster. */
export const previewLimits = {
  /** One at a time, and so many that wait: previews are never worth crowding the API server. */
  waiting: 20,
  /** Objects of one that are tried at a time. */
  atOnce: 4,
} as const;

/** What a rollout asks of the cluster. */
export const gateLimits = {
  /** Gates of a kind (metric, Job) that are asked at a time, and those that wait for that. */
  atOnce: 8,
  waiting: 100,
  /** Who waits for longer is not asked: the answer would come after the minute that the hub gives beyond a gate's own time, and it asks anew. */
  turnMs: 25_000,
  messageChars: 500,
  /** Prometheus gives up after two minutes by default; a query for a gate that takes longer than this is too dear to be asked by every cluster. */
  metricAnswerMs: 30_000,
  metricAnswerBytes: 2 * MiB,
  /** Samples of a window: so many, but no closer than a scrape. */
  metricSteps: 60,
  metricStepMinMs: 15_000,
  /** A Job is looked at after ever longer times. */
  jobLookMinMs: 500,
  jobLookMaxMs: 5_000,
  /** A Job that is not done in time is ended by its cluster so long after the gate has given up, seconds. */
  jobOverS: 30,
  /** Jobs that ended are kept for so long to be looked at, seconds. */
  jobKeptS: 3_600,
} as const;

/** The start and the end of the process. */
export const mainLimits = {
  /** What the start waits for (API server, hub) is tried again: first after, at most. */
  retryMinMs: 500,
  retryMaxMs: 30_000,
  /** Each part's time to close in order; Kubernetes kills after 30 s. */
  closeMs: 5_000,
} as const;
