import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { childKillGraceS } from "../limits.ts";

/** How one server is started. */
export interface ServerCommand {
  file: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** Whom guard and server run as; the pid file's folder must be theirs. */
  owner?: { uid: number; gid: number };
}

/**
 * The guard is a shell between us and the server: it reads a pipe whose other end only we hold. When that end closes,
 * because we closed it or because we died, it ends the server. $1 signal, $2 grace in seconds, $3 pid file, which is
 * there before the server runs.
 */
const guard = `
signal=$1 grace=$2 pidfile=$3
shift 3
exec 3<&0 </dev/null
/bin/sh -c 'echo $$ >"$0.part" && mv -f "$0.part" "$0"; exec "$@"' "$pidfile" "$@" 3<&- &
child=$!
(
  read -r _ <&3
  kill -s "$signal" "$child" 2>/dev/null
  while [ "$grace" -gt 0 ] && kill -0 "$child" 2>/dev/null; do sleep 1 >/dev/null 2>&1; grace=$((grace - 1)); done
  kill -s KILL "$child" 2>/dev/null
) &
watcher=$!
exec 3<&-
wait "$child"
code=$?
kill -s KILL "$watcher" 2>/dev/null
exit "$code"
`;

/** The guard's streams: closing `stdin` ends the server; stdout and stderr are the server's. It exits with its status. */
export type GuardedProcess = ChildProcessByStdio<Writable, Readable, Readable>;

export interface GuardOptions {
  name: string;
  /** Gets the server's own pid, by rename. */
  pidFile: string;
  stopSignal: "TERM" | "INT";
}

/** Starts a server that cannot outlive this process, and is in a session of its own: Ctrl-C is for us, who end our servers in order. */
export function spawnGuarded(command: ServerCommand, options: GuardOptions): GuardedProcess {
  const guarded = spawn(
    "/bin/sh",
    ["-c", guard, `flotilla-${options.name}`, options.stopSignal, String(childKillGraceS), options.pidFile, command.file, ...command.args],
    { stdio: ["pipe", "pipe", "pipe"], detached: true, env: { ...(command.env ?? process.env), ...runMark() }, cwd: "/", ...command.owner },
  );
  guarded.stdin.on("error", () => undefined);
  return guarded;
}

/** A test run marks what it starts, however deep, so that it can find what was left behind. */
function runMark(): NodeJS.ProcessEnv {
  const run = process.env.FLOTILLA_TEST_RUN;
  return run ? { FLOTILLA_TEST_RUN: run } : {};
}
