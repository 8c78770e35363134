/** Every bound of the hub alone, each with its reason. What hub and agent share is in proto/src/limits.ts. */

// Work that must be single.

/** A dead replica's work is taken over within this; renewed three times as often. */
export const leaseMs = 10_000;
export const leaseRenewMs = 3_000;

/** Node's pool for small buffers is 64 KiB. It keeps twelve bytes of one with every TLS connection, and so the whole pool: 24 KB an agent. */
export const bufferPoolBytes = 4_096;

/** Slow poll for what a NOTIFY said and nobody heard. */
export const hintPollMs = 2_000;

/** Repositories that one replica renders and places at once: each may hold render processes. */
export const repositoriesAtOnce = 4;

/** Fetches at once: mostly waiting for servers, and a hanging one must not keep others from their turn (G17). */
export const fetchesAtOnce = 32;

/** Bundles rendered at once by one replica: helm and kustomize take a core each. */
export const rendersAtOnce = 2;

/** Less free than this on the data folder's volume is called full: four segments of Postgres' log. Twice as much is room again, so that it does not flap. */
export const diskFreeBytesMin = 64 * 1024 ** 2;

/** One statfs; often, so that a disk that was full for some seconds is noticed. */
export const diskCheckMs = 2_000;

// Servers that the hub starts itself (embedded/).

/** A server that died is started again at once, then ever more slowly: a full disk is not mended by haste. */
export const childRestartMinMs = 250;
export const childRestartMaxMs = 10_000;

/** A server that ran this long was healthy: its next end is a new failure. */
export const childStableMs = 30_000;

/** A server that was asked to end is killed after this; a fast shutdown of Postgres writes one checkpoint. */
export const childKillGraceS = 20;

/** Last lines of a server's output that are kept for the message when it ends. */
export const childOutputLinesKept = 20;

/** How long a server may take to answer: Postgres replays its log after a crash. */
export const postgresReadyMs = 60_000;
export const natsReadyMs = 20_000;

/** How often a starting server is asked whether it answers, and an ending one whether it is gone. */
export const readyPollMs = 50;
export const endedPollMs = 25;

/** A claim file without content is being written by another process; older than this it is a crash's remains. */
export const folderClaimWaitMs = 1_000;

/** Connections of the embedded Postgres: two hubs' pools and a person's psql. */
export const postgresConnectionsMax = 100;

/** Disk that the broker may take: reports wait here only until intake has committed them. */
export const natsStoreBytesMax = 4 * 1024 ** 3;
export const natsMemoryStoreBytesMax = 64 * 1024 ** 2;

/** Reports are cut to maxReportBytes; headers come on top of it. */
export const natsPayloadBytesMax = 1024 ** 2;

/** One Go build: the Kubernetes API server takes 4 minutes on two cores, downloads included. */
export const toolBuildMs = 30 * 60_000;

/** How often a build waits on another's lock, and asks a program for its version at most this long. */
export const toolLockPollMs = 500;
export const toolVersionMs = 10_000;

// Rendering (render/). Git content is hostile: every size is looked at before the work that it would cause.

/** One manifest file: kube-prometheus' largest CRD is 0.9 MB, its dashboards 2 MB. */
export const manifestBytesMax = 16 * 1024 ** 2;

/** All manifests of one bundle together: parsed they take five times as much memory. */
export const bundleBytesMax = 64 * 1024 ** 2;

/** YAML documents in one file: as many as objects in one bundle. */
export const documentsPerFileMax = 20_000;

/** Nesting of maps and lists: the deepest published CRD schema has 40. */
export const manifestDepthMax = 100;

/** Aliases in one document, and values it may have once they are unfolded (against "billion laughs"). */
export const aliasesPerDocumentMax = 1_000;
export const valuesPerDocumentMax = 500_000;

/** Problems told per file and per bundle: whoever has more wants the first ones. */
export const problemsPerFileMax = 50;
export const problemsPerBundleMax = 200;

/** Words of annotations told per bundle by `fleet lint`. */
export const directivesPerBundleMax = 2_000;

/** Warnings kept of one fleet's revision: what nobody reads to the end is counted. */
export const warningsPerFleetMax = 500;

/** Kustomizations that lead to each other, and files that one may read. */
export const kustomizationsMax = 500;
export const bundleFilesMax = 10_000;

/** Charts inside charts that are taken from elsewhere in the repository by file://. */
export const chartNestingMax = 5;

/** One run of helm or kustomize: 1,000 documents take kustomize 2 s, so a bundle beyond this should be split. */
export const renderMs = 60_000;

/** A revision whose render ran out of time is tried again after the first, and after each try twice as long, up to the second. */
export const renderRetryMinMs = 60_000;
export const renderRetryMaxMs = 1_800_000;
export const renderCpuSeconds = 60;

/** Memory of one run: the soft bound makes Go collect, the hard one (address space, which Go reserves generously) ends it. */
export const renderSoftBytesMax = 512 * 1024 ** 2;
export const renderAddressBytesMax = 3 * 1024 ** 3;

/** What one run may print, and write into its scratch folder. */
export const renderOutputBytesMax = 128 * 1024 ** 2;
export const renderErrorBytesMax = 64 * 1024;
export const renderFileBytesMax = 64 * 1024 ** 2;

/**
 * A program that builds kustomizations one after the other: it is made anew after so many, so that nothing it might keep grows, and when nobody asks it for this
 * long. A build that takes longer than this, or reads more, gets a program of its own: starting it is then the smaller part.
 */
export const renderWorkerBuildsMax = 500;
export const renderWorkerIdleMs = 30_000;
export const renderWorkerMs = 10_000;
export const renderWorkerCpuSeconds = 600;
export const renderWorkerBytesMax = 4 * 1024 ** 2;

/** Line of a tool's complaint that is shown; the rest repeats the manifests. */
export const renderMessageCharsMax = 600;

/** What surveys remember per blob: names and cluster-scoped kinds of a file, some hundred bytes each. */
export const surveyedBlobsMax = 20_000;

/** What trees were asked for surveys and for fleet files that are remembered, some hundred bytes each: a thousand kustomizations of ten files are 20,000. */
export const surveyAnswersMax = 200_000;
export const fleetFileAnswersMax = 50_000;

/** Contested objects told per cluster and bundle; the rest are counted. */
export const contestsToldMax = 20;

// Git (source/).

/** Longest repository URL and ref name; forges allow 255 characters of a name. */
export const repositoryUrlCharsMax = 2_048;
export const refNameCharsMax = 255;

/** One `ls-remote`: a poll of a server that does not answer must not hold its turn. */
export const listRemoteMs = 20_000;

/** One fetch: the first one of a large repository over a slow line. */
export const fetchMs = 5 * 60_000;

/** One local Git command. */
export const gitLocalMs = 30_000;

/** Packing a clone anew; it may use both cores for a while and nothing waits for it but the next fetch. */
export const gitMaintenanceMs = 10 * 60_000;

/** A Git command that was asked to end is killed after this. */
export const gitKillGraceMs = 2_000;

/** A transfer without a byte for this long is dead. No more is asked: a server that packs a large repository sends a few bytes every 5 s. */
export const gitLowSpeedBytes = 1;
export const gitLowSpeedS = 60;

/** What one Git command may print: 200,000 tree entries of 150 characters. A server's endless list of refs ends here. */
export const gitOutputBytesMax = 32 * 1024 ** 2;

/** What a clone may take on disk, and how often that is looked at while a fetch runs. */
export const cloneBytesMax = 2 * 1024 ** 3;
export const cloneSizeCheckMs = 200;

/** Address space of one Git command: packs are mapped, at most 256 MiB at a time; a server that sends refs without end stops here. */
export const gitMemoryBytesMax = 1024 ** 3;

/** Commits fetched further back when a new commit does not descend from the known one as far as the clone reaches. */
export const rewoundDeepen = 1_000;

/** Commits that a clone keeps for rendering them again: several fleets' worth of revisionsKeptPerFleet. */
export const commitsKeptPerClone = 200;

/** Every fetch adds a pack; more than this make reading slow, and the clone is packed anew. */
export const packsPerCloneMax = 40;

/** A clone is tidied this long after a fetch, out of the way of the push that caused it; at four times packsPerCloneMax a fetch does it itself. */
export const tidyAfterMs = 60_000;

/** Entries of one tree: a monorepo of 200,000 files lists in half a second and takes 60 MB. */
export const entriesPerTreeMax = 200_000;

/** Files and bytes of one folder that is rendered, and of one file in it. */
export const filesPerFolderMax = 20_000;
export const folderBytesMax = 128 * 1024 ** 2;
export const fileBytesMax = 16 * 1024 ** 2;

/** Parts and characters of one path. */
export const pathDepthMax = 32;
export const pathCharsMax = 1_024;

/** Trees kept open per clone: the fleets of a repository are at one or two commits. */
export const openTreesPerClone = 4;

/** The process that reads blobs ends when nobody asked it for this long. */
export const objectReaderIdleMs = 30_000;

/** Webhook bodies: GitHub's largest push payloads are cut at 2,048 commits, far below. */
export const webhookBodyBytesMax = 1024 ** 2;

/** Webhooks per repository: bursts are real (one push, several events), floods are not. */
export const webhookBurst = 60;
export const webhooksPerSecond = 5;

/** Webhooks whose signature does not hold, per sender and repository: enough for a person who sets one up, and told to be quiet then. */
export const unsignedWebhookBurst = 10;
export const unsignedWebhooksPerSecond = 0.2;

/** How far a signed timestamp may be off: Standard Webhooks says five minutes. */
export const webhookClockSkewMs = 5 * 60_000;

/** Senders and repositories whose rate is remembered. */
export const rateBucketsMax = 10_000;

/** Repository polls: the default and the widest allowed; a tenth of it is jitter, so that a thousand do not fall together. */
export const pollIntervalMs = 5_000;
export const pollJitter = 0.1;

/** Backoff of a repository that fails: doubles from its poll interval up to this; a webhook cuts it short, at most once per webhookRetryMs. */
export const pollBackoffMaxMs = 5 * 60_000;
export const webhookRetryMs = 1_000;

// Postgres (store/).

/** Connections of one replica: intake, follower, sessions and the API each have some; Postgres' own default limit is 100. */
export const poolConnectionsMax = 16;

/** How long a connection may take, and one statement. The longest is a release to 10,000 clusters, about 2 s. */
export const connectMs = 10_000;
export const statementMs = 30_000;

/** A stopped replica's transaction is ended by Postgres before its lease is: it must not hold up the successor. */
export const idleInTransactionMs = 5_000;

/** Transactions that crossed are tried again this often; more means that they always cross. */
export const transactionRetriesMax = 5;

/** A waiting replica looks whether a lease is free. */
export const leaseTryMs = 1_000;

/** A NOTIFY payload; Postgres refuses 8,000 bytes. */
export const notifyBytesMax = 7_900;

/** A lost LISTEN connection is made again within these; a silent one is asked this often whether it lives. */
export const listenRetryMinMs = 100;
export const listenRetryMaxMs = 5_000;
export const listenCheckMs = 10_000;

/** Rows of one UNNEST batch. */
export const batchRowsMax = 1_000;

// Reports (intake/, sync/record-report.ts).

/** Any text of a report; agents cut messages to maxMessageChars, drift values to maxDriftValueChars. */
export const reportTextCharsMax = 4_096;

/** Lists of one report that proto/src/limits.ts does not bound: a target's bundles, four steps a revision, and 20 fields for each of 500 objects. */
export const bundlesPerReportMax = 1_000;
export const phasesPerReportMax = 100;
export const driftFieldsPerReportMax = 10_000;
/** Steps of one drifted field's path: objects nest less deep. */
export const driftMembersMax = 100;
/** Managers that are remembered of one drift: more than that never write one field. */
export const driftManagersMax = 20;

/** A snapshot: a cluster is in tens of fleets, and 20,000 objects in 1,000 bundles are 40,000 parts at the very worst. */
export const fleetsPerSnapshotMax = 1_000;
export const snapshotPartsMax = 100_000;

/** One transaction of the intake: enough for UNNEST to pay (28 times single rows), little enough to wait for. */
export const intakeBatchMax = 500;
export const intakeBatchBytesMax = 32 * 1024 ** 2;
export const intakeBatchMs = 50;

/** A batch is committed when nothing came for this long. */
export const intakeLingerMs = 5;

/** Messages asked of the broker ahead: at 1 MB each they take 256 MB at the very worst. */
export const intakeFetchMax = 256;

/** Messages that the broker may have out to the intake, un-acked: those asked for and a batch being committed. */
export const intakePendingMax = 1_000;

/** The broker gives a message again after this; a commit takes milliseconds, and whatever is worse begins anew from Postgres. */
export const intakeAckWaitMs = 60_000;

/** The broker is asked this often whether it holds messages that do not come; twice in a row and the consumer is made anew. */
export const intakeStallCheckMs = 5_000;
export const intakeStallsMax = 2;

/** What is committed is purged from the stream this often: the broker is a pipe, and a full one refuses reports. */
export const intakePurgeMs = 30_000;
/** Sooner when so many wait for it: a tenth of what one cluster may have in the stream, so that one which catches up sends thousands a second. */
export const intakePurgeReports = 100;
export const intakePurgeLookMs = 250;

/** A cluster is asked at most this often to publish again: what was on its way meanwhile is no new loss. */
export const resendAskMs = 5_000;

/** Dead letters kept, newest first, and the part of each that is kept. */
export const deadLettersMax = 10_000;
export const deadLetterBytesMax = 64 * 1024;

// The wire (stream/).

/** Agents on one replica: 91 KB a stream make 1.1 GB; more agents are more replicas. */
export const sessionsMax = 12_000;

/** Hello must follow the stream at once; a stream without one holds nothing but its place. */
export const helloDeadlineMs = 10_000;

/** Sessions' deadlines and heartbeats are looked at by one timer. */
export const sessionTickMs = 1_000;

/** Leases of everyone heard since the last time, in one statement: a tenth of clusterLeaseMs is not noticed. */
export const leaseFlushMs = 3_000;

/** Hints that come together are answered by one query. */
export const hintFoldMs = 5;

/** Every stream is looked at once in so long though nothing waits for it; a hundred each time in any case. */
export const pollRoundMs = 20_000;
export const pollStreamsMin = 100;

/** How far back the slow poll looks for released targets and for rights that were taken away: longer than a round, and than any release's transaction. */
export const recentTargetsMs = 60_000;

/** Streams move to other replicas now and then, so that a new replica gets its share. */
export const sessionAgeMs = 3_600_000;
export const sessionAgeJitter = 0.1;
export const sessionMoveWithinMs = 5_000;

/** A draining hub gives its agents this long to leave. */
export const drainMs = 5_000;

/** Agents that lost their hub all at once come back spread over a time that grows with their number: 4,000 handshakes took a core 17 to 25 s. */
export const reconnectPerSessionMs = 5;
export const reconnectWithinMaxMs = 120_000;

/** How often agents are counted for it, and who counts: one that was heard lately. */
export const countAgentsMs = 60_000;
export const countedAgentsMs = 24 * 3_600_000;

/** Encoded bodies kept for the next agents of a fan-out, and bodies read at once. */
export const bodyCacheBytesMax = 64 * 1024 ** 2;
export const bodyLoadsAtOnce = 4;

/** Commands of a kind sent to one cluster and not answered yet; the others wait in their table. Of a kind: a gate's Job may take hours, and a sync does not wait for it. */
export const commandsInFlightMax = 16;

/** Specs of targets that sessions remember: clusters that get the same share one, and a thousand of a hundred bundles take 50 MiB. */
export const specsRemembered = 1_000;

/** What agents hold, on its way to be compared with the rows: a thousand fleets for each of thousands of streams that come together. */
export const heldTargetsMax = 1_000_000;

/** "send" phases that wait for their batch; beyond it the oldest are forgotten, they are only for people. */
export const sendPhasesMax = 10_000;
export const sendPhasesFoldMs = 200;

/** Enrolment: tries per address (unless `--enrol-per-second` says more), and in all. A data centre behind one address joins in bursts. */
export const enrolPerSecond = 1;
/** Seconds of its rate that an address may spend at once. */
export const enrolBurstSeconds = 20;
export const enrolBurstAll = 200;
export const enrolPerSecondAll = 50;
/** Each costs a signature and a transaction, a few milliseconds of one core: more than this no hub can answer. */
export const enrolPerSecondMax = 500;

/** A request for a P-256 certificate has about 300 bytes. */
export const csrBytesMax = 4_096;

/** Renewals of one cluster, of its certificate and its broker user: two in 16 h are usual, more come from restarts. */
export const renewBurst = 20;
export const renewPerSecond = 1 / 20;

/** Events about streams of one cluster that claimed to be another: the first ones tell all there is. */
export const refusalBurst = 5;
export const refusalsPerSecond = 1 / 60;

/** Certificates of the hub's own listeners, renewed at half their life by each replica for itself. */
export const serverCertificateMs = 30 * 24 * 3_600_000;

/** Agents judge the hub's certificates by their own clocks: one that is two days behind still comes in. Their keys are no older for it. */
export const serverBackdateMs = 2 * 24 * 3_600_000;

/** `fleet doctor` wants a CA changed that ends within this: agents that are away for months should still come back meanwhile. */
export const caExpiryWarnedMs = 180 * 24 * 3_600_000;

/** CAs that are trusted at a time: one that signs, one that is staged, and what two changes in a row left behind. */
export const authoritiesTrustedMax = 4;

/** A new CA signs no sooner: each replica looks at the rows every hintPollMs, and must trust it before an agent comes with a certificate of it. */
export const authoritySettleMs = 5_000;

/** The CA's own life. Its key never leaves the database unsealed. */
export const caLifetimeMs = 10 * 365 * 24 * 3_600_000;

/** TLS handshakes that do not end. */
export const handshakeMs = 10_000;

/** Disk for reports on their way: half of what the embedded broker has; when it is full agents keep their own. */
export const reportStreamBytesMax = 2 * 1024 ** 3;
/**
 * Reports of one cluster in the stream, committed or not: the hub takes them in the order in which they came, so that this is what others wait for
 * behind a cluster that floods. An honest agent has 64 on their way.
 */
export const reportsPerClusterMax = 1_000;
export const reportStreamAgeMs = 7 * 24 * 3_600_000;

/** The broker forgets message ids after this; the intake does not need them. */
export const reportDuplicatesMs = 120_000;

/** Subscriptions of one agent's broker user: its inbox, with room. */
export const brokerUserSubscriptionsMax = 10;

/** Where revocations cannot be pushed to the broker (an account that is not ours), users live this long instead of a day. */
export const brokerUserUnrevocableMs = 3_600_000;

/** A broker that does not answer is asked again. */
export const brokerRetryMs = 1_000;
export const brokerRequestMs = 3_000;

// Clusters that leave (domain/plan-removals.ts).

/** Removals within this time count together: whoever edits labels one by one within an hour makes one change. */
export const removalWindowMs = 3_600_000;

/** Events of clusters that begin to leave, or stay after all, in one release; the rest are counted. */
export const leavingToldMax = 50;

// Audit log (store/).

/** A reason given for an act, and the text of a refusal: a paragraph. */
export const auditReasonCharsMax = 1_000;

/** Acts read at once while the chain is followed: about half a megabyte. */
export const auditPageRows = 1_000;

// REST (api/).

/** A page; the default is what a screen shows, the bound what a program may ask for at once. */
export const pageRowsDefault = 100;
export const pageRowsMax = 500;

/** `total` of a list is counted up to this: ten times the clusters of the largest fleet. Of events, of which there are millions, up to the second. */
export const countedRowsMax = 100_000;
export const countedEventsMax = 10_000;

/** Largest request body: a fleet with an SSH key and known hosts. */
export const apiBodyBytesMax = 128 * 1024;

/** Connections to the API, and how long a request may take to come in. */
export const apiConnectionsMax = 2_000;
export const apiRequestMs = 30_000;

/** Watchers of one replica; each holds a socket and about this much unsent text. One that takes nothing for so long is dropped. */
export const watchersMax = 500;
export const watcherUnsentBytesMax = 256 * 1024;
export const watcherStuckMs = 10_000;

/** A watcher that resumes gets at most this many missed events, this many at a time; whoever missed more should list. */
export const watchResumeMax = 10_000;
export const watchPageRows = 500;

/** Changes of one burst are told together. */
export const watchCoalesceMs = 100;

/** Keeps proxies from closing a quiet stream; the token is looked at again as often as the second says (CVE-2024-41666). */
export const watchPingMs = 15_000;
export const watchReauthoriseMs = 60_000;

/** /readyz waits this long for Postgres. */
export const readyMs = 2_000;

// Upkeep of Postgres (store/upkeep.ts).

/** How often, and how many rows of a kind one run takes: it never holds locks for long, and catches up within hours. */
export const upkeepMs = 15 * 60_000;
export const upkeepRowsMax = 10_000;

/** Event partitions made ahead (a week of hubs that are off), and days that events are kept. */
export const eventDaysAhead = 7;
export const eventDaysKept = 14;

/** A day is packed so long after its midnight: what began before it is committed, and the events of the last day are rows for who asks in SQL (note-held-targets). */
export const eventDayGraceMs = 25 * 3_600_000;
/** Events of a pack, and the characters after which it ends early. To find one event a whole pack is read, in some 0.3 ms; more in one saves little space. */
export const eventsPerPack = 256;
export const eventPackCharsMax = 4 * 1024 * 1024;
/** A pack as text: each character may be escaped. */
export const eventPackBytesMax = 64 * 1024 * 1024;
/** Packs of a segment, whose keys have a bit each: a million events. */
export const packsPerSegment = 4_096;
/** Events read at once while they are packed: some tens of milliseconds of the hub's time. And segments of one run: a day of two million events is packed at once, a larger one in several runs. */
export const packedAtOnce = 4_096;
export const segmentsPerRun = 2;
/** How long the end of a day's packing waits for its locks, and whoever reads or writes events behind it (ms); it is tried again by the next run. */
export const packLockMs = 2_000;
/** Packs read for one page, and for its `total`, where several filters leave more to look through than they find. */
export const packsReadMax = 1_000;
export const packsCountedMax = 100;
/** Packs fetched together: 16 take some 200 KiB. */
export const packsAtOnce = 16;

/** Healed drift, and commands that ran out. */
export const driftsKeptMs = 30 * 86_400_000;
/** Healed drifts kept at most, the newest: one each 26 s for a month, some 100 MB. */
export const driftsKeptMax = 100_000;
/** Approvals that something came of; the audit log keeps them for ever. */
export const approvalsKeptMs = 365 * 86_400_000;
export const commandsKeptMs = 86_400_000;

/** A body without a target or revision may belong to a render that is under way; the slowest takes minutes. */
export const bodyGraceMs = 86_400_000;

// Rollouts.

/** Ended rollouts of a fleet that are kept, with their decisions. */
export const rolloutsKeptPerFleet = 500;

/** Lines of history of one rollout: what comes after is not written any more. */
export const decisionsPerRolloutMax = 2_000;

/** Releases are kept this long as history, and the newest of each cluster for ever. */
export const releasesKeptMs = 90 * 86_400_000;

/** A fleet's rollout is looked at again no sooner than this after a look, and than so many times what the look took, up to a bound: reports come by the hundred. */
export const rolloutLookMinMs = 100;
export const rolloutLookFactor = 5;
export const rolloutLookMaxMs = 2_000;

/** Rollouts are looked at this often though nobody said so: the net under `flotilla_rollouts`. */
export const rolloutNetMs = 30_000;

/** A gate that could not be answered is asked again after this, and one that was asked is given this long beyond its own time. */
export const gateAskAgainMs = 60_000;

/** A wave that goes back is given this long before the one below follows, whether it answers or not. */
export const rollbackSettleMs = 60_000;

/** Decisions carried out in one go; what is left comes in the next. */
export const rolloutStepsMax = 50;

/** Revisions of one fleet that are kept placed at a time: the one that rolls out, the settled one, pins, and what clusters lag at. */
export const placedRevisionsMax = 6;

/** Pairs of present and older targets that are compared before a rollback: clusters that have the same count once. */
export const hazardPairsMax = 50;

/** Previews that are being made at a time, in all replicas. */
export const openPreviewsMax = 20;
/** Previews that ended are kept for a day. */
export const previewsKeptMs = 86_400_000;
/** A preview ends after this when nobody says otherwise, and never later than the second. */
export const previewMs = 60_000;
export const previewMsMax = 600_000;
/** How often is looked whether everybody has answered, while a preview waits for that. */
export const previewLookMs = 200;
/** Clusters that one preview asks, and different effects that it shows whole. */
export const previewClustersMax = 3_000;
export const previewGroupsMax = 50;
/** A working copy that is sent for a preview: as JSON, and its files. */
export const previewUploadBytesMax = 16 * 1024 * 1024;
export const previewFilesMax = 5_000;

/** One request to a forge, its answer, and how often it is tried at once when the server fails. */
export const forgeRequestMs = 15_000;
export const forgeAnswerBytesMax = 4 * 1024 * 1024;
export const forgeRetries = 3;
export const forgeRetryMs = 500;
/** A forge that asks to wait is asked again within the request when it is this short; never longer than the second away. */
export const forgeWaitInlineMs = 5_000;
export const forgeWaitMaxMs = 3_600_000;
/** Pages of comments that are searched for ours. */
export const forgePagesMax = 20;
/** Pull requests that are checked at a time, and how long one preview of them waits for clusters. */
export const checksAtOnce = 4;
export const checkPreviewMs = 120_000;
/** What a forge or a receiver did not take is tried again after 5 s, ever more rarely, and given up after a day. */
export const deliveryRetryMinMs = 5_000;
export const deliveryRetryMaxMs = 600_000;
export const deliveryKeptMs = 86_400_000;
/** How often is looked for something to deliver though nobody said so. */
export const deliveryLookMs = 10_000;
/** One delivery of a notification. */
export const notificationMs = 10_000;
/** Notifications that wait; more are dropped, oldest first, and said so. */
export const notificationsMax = 5_000;
/** A comment on a pull request: GitHub takes 65,536 characters. */
export const commentCharsMax = 60_000;
