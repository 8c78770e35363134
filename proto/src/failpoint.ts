/**
 * Named places where a test can end the process as a power cut would. `FLOTILLA_FAILPOINT=name:n` sends SIGKILL to
 * this process at the n-th time (default the first) that the place is reached; without the variable a failpoint costs
 * one comparison.
 */
const [wanted, count] = (process.env.FLOTILLA_FAILPOINT ?? "").split(":");
let remaining = Number(count ?? "1");

export function failpoint(name: string): void {
  if (!wanted || name !== wanted) return;
  remaining -= 1;
  if (remaining <= 0) process.kill(process.pid, "SIGKILL");
}
