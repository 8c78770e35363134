/** Bounds of the CLI, each with its reason. */

/** A hub answers a page within its own statement timeout; longer is a hub that hangs. */
export const requestTimeoutMs = 30_000;

/** A loopback or data-centre connection takes milliseconds; a dropped packet is sent again after 1 s and 3 s. */
export const connectTimeoutMs = 5_000;

/** Reads are tried again when the hub restarts behind a load balancer; writes never are. */
export const readAttempts = 3;
export const readRetryMs = 250;

/** One answer: 500 rows of 50 KB each. */
export const maxAnswerBytes = 32 * 1024 * 1024;

/** Rows of one list: ten times the largest fleet. Beyond it a filter is what the reader wants. */
export const maxRows = 100_000;
export const pageRows = 500;

/** The hub pings every 15 s; three misses are a dead stream. */
export const streamIdleMs = 45_000;
export const streamRetryMinMs = 500;
export const streamRetryMaxMs = 10_000;

/** Clusters in one request for an approval: what the API takes. */
export const approvalsAtOnce = 500;

/** One event of the stream: an EventRow with its message, many times over. */
export const maxStreamEventBytes = 1024 * 1024;

/** A burst of changes is drawn once. */
export const redrawMs = 200;
/** Ages grow on a terminal also when nothing happens, and a lease may run out without an event. */
export const refreshMs = 5_000;

/** `wait` and `agent install`: how often to look when the stream says nothing. */
export const waitPollMs = 1_000;
export const defaultWaitMs = 5 * 60_000;

/** Completion must not make the shell wait: past this it offers nothing. */
export const completionTimeoutMs = 800;
export const completionRows = 200;

/** Output of `hub lint` and `hub render`: a large fleet's objects as JSON. */
export const maxProgramOutputBytes = 512 * 1024 * 1024;

/** What one git command prints: a diff of files that the hub reads, which has 16 MiB for each. */
export const maxGitOutputBytes = 64 * 1024 * 1024;

/** Looking at a server's certificate during `login`. */
export const tlsProbeMs = 10_000;

/** Kubernetes answers an apply within its own 60 s. */
export const kubeRequestMs = 65_000;

/** After the command is done: output to pipes and files is written by then, what is left are sockets that nobody answers. */
export const lingerMs = 2_000;

/** A working copy that is sent to the hub for a preview (hub: previewFilesMax, previewUploadBytesMax; base64 takes a third more). */
export const workingCopyFilesMax = 5_000;
export const workingCopyBytesMax = 10 * 2 ** 20;
