/** Names longer than this are compared by their beginning: the distance costs length times length. */
const comparedCharsMax = 64;

/** More candidates than this are not looked at: a hint is not worth more. */
const candidatesMax = 2_000;

/**
 * The candidate that a mistyped name most likely means: the least edits (insert, delete, replace, swap), at most a third of its
 * length, case ignored. Undefined when nothing is near.
 */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = name.slice(0, comparedCharsMax).toLowerCase();
  const tolerated = Math.max(1, Math.ceil(wanted.length / 3));
  let best: { candidate: string; edits: number } | undefined;
  let looked = 0;
  for (const candidate of candidates) {
    if (++looked > candidatesMax) break;
    const compared = candidate.slice(0, comparedCharsMax).toLowerCase();
    if (Math.abs(compared.length - wanted.length) > tolerated) continue;
    const edits = editDistance(wanted, compared);
    if (edits <= tolerated && edits < Math.max(wanted.length, 1) && (best === undefined || edits < best.edits)) best = { candidate, edits };
  }
  return best?.candidate;
}

/** "did you mean 'bundles'?", or the whole list when it is short, or nothing. */
export function suggestName(name: string, candidates: readonly string[], what = "names"): string | undefined {
  const nearest = nearestName(name, candidates);
  if (nearest !== undefined) return `did you mean '${nearest}'?`;
  if (candidates.length === 0 || candidates.length > 20) return undefined;
  return `the ${what} are ${candidates.join(", ")}`;
}

/** Optimal string alignment: like Levenshtein, with neighbours swapped counting as one edit. */
function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      let edits = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) edits = Math.min(edits, (beforeLast[column - 2] ?? 0) + 1);
      current.push(edits);
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length] ?? left.length;
}
