import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/** Resident set of a process, in MiB. */
export async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** CPU time that a process has used, in seconds; Linux counts it in hundredths. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The second field is a name in brackets, which may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The same with what its children that have ended used, as servers with a process per connection have. */
export async function cpuSecondsWithEnded(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0) / 100;
}

/** Payload of one TCP connection so far, in bytes. */
export interface SocketBytes {
  readonly sent: number;
  readonly received: number;
}

/** A process' TCP connections by "local peer", as `ss` counts them. */
export async function socketBytes(pid: number): Promise<Map<string, SocketBytes>> {
  // Ten thousand agents with a link and a broker each are forty thousand ends of a kilobyte.
  const { stdout } = await promisify(execFile)("ss", ["-tinpHO", "state", "established"], { maxBuffer: 128 * 1024 * 1024 });
  const found = new Map<string, SocketBytes>();
  for (const line of stdout.split("\n")) {
    if (!line.includes(`pid=${pid},`)) continue;
    const [, , local = "", peer = ""] = line.trim().split(/\s+/);
    const count = (name: string) => Number(new RegExp(`\\b${name}:(\\d+)`).exec(line)?.[1] ?? 0);
    found.set(`${local} ${peer}`, { sent: count("bytes_sent"), received: count("bytes_received") });
  }
  return found;
}
