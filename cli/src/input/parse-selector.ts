import type { FleetCreate } from "@flotilla/proto/rest/contract";
import { wrongUse } from "../fleet-error.ts";

type Selector = NonNullable<FleetCreate["selector"]>;
type Expression = NonNullable<Selector["matchExpressions"]>[number];

/** kubectl's label selector, e.g. `env=prod,region in (eu,us),!edge`, as the contract's Selector. Throws FleetError (2). */
export function parseSelector(text: string): Selector {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: Expression[] = [];
  for (const term of splitTerms(text)) {
    const equal = /^([^\s=!]+)\s*==?\s*([^\s=]*)$/.exec(term);
    if (equal?.[1] !== undefined) matchLabels[equal[1]] = equal[2] ?? "";
    else matchExpressions.push(parseExpression(term));
  }
  return {
    ...(Object.keys(matchLabels).length > 0 && { matchLabels }),
    ...(matchExpressions.length > 0 && { matchExpressions }),
  };
}

function parseExpression(term: string): Expression {
  const set = /^([^\s!]+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(term);
  if (set?.[1] !== undefined) {
    return { key: set[1], operator: set[2] === "in" ? "In" : "NotIn", values: (set[3] ?? "").split(",").map((value) => value.trim()) };
  }
  const unequal = /^([^\s=!]+)\s*!=\s*(\S*)$/.exec(term);
  if (unequal?.[1] !== undefined) return { key: unequal[1], operator: "NotIn", values: [unequal[2] ?? ""] };
  const exists = /^(!?)([^\s=!()]+)$/.exec(term);
  if (exists?.[2] !== undefined) return { key: exists[2], operator: exists[1] === "!" ? "DoesNotExist" : "Exists" };
  throw wrongUse(`'${term}' is not a selector`, "as in kubectl: env=prod, env!=dev, region in (eu,us), edge, !edge; joined by commas");
}

/** Cuts at commas outside of parentheses. */
function splitTerms(text: string): string[] {
  return (text.match(/(?:[^,(]|\([^)]*\))+/g) ?? []).map((term) => term.trim()).filter((term) => term !== "");
}
