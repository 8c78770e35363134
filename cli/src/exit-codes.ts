/** Exit status of every command; scripts rely on them. */
export const exitCodes = {
  done: 0,
  failed: 1,
  wrongUse: 2,
  difference: 3,
  timedOut: 4,
  notAllowed: 5,
  unreachable: 6,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
