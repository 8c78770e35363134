/** What came of one guarantee. */
export interface Verdict {
  readonly guarantee: string;
  /** What was looked at, with numbers. */
  readonly looked: string;
  /** What was found wrong; empty when it held. */
  readonly problems: readonly string[];
}

/** Problems that a verdict names; what is broken once is broken often. */
export const problemsMax = 10;
