import type { ServerLog } from "@flotilla/hub/embedded/supervised-child";

/** For servers of a test: what they say is in their log files or their errors. */
export const quietLog: ServerLog = { debug: () => undefined, info: () => undefined, warn: () => undefined };
