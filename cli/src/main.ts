import { runFleet } from "./app.ts";
import { lingerMs } from "./limits.ts";

const stopped = new AbortController();
// The first asks commands to end by themselves; the second is the system's own, and ends at once.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
// `fleet events | head` closes the pipe: that is an end, not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

const status = await runFleet(process.argv.slice(2), {
  process,
  env: process.env,
  stdin: process.stdin,
  now: Date.now,
  signal: stopped.signal,
});
process.exitCode = status;
// A connection that nobody answers must not keep the program from ending.
setTimeout(() => process.exit(), lingerMs).unref();
