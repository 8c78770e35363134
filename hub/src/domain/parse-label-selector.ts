import type { LabelExpression } from "./fleet-spec.ts";

export type ParsedSelector = { readonly ok: true; readonly expressions: readonly LabelExpression[] } | { readonly ok: false; readonly message: string };

const key = "[A-Za-z0-9](?:[-A-Za-z0-9_./]{0,251}[A-Za-z0-9])?";
const value = "(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?";
const forms: readonly [RegExp, (match: readonly string[]) => LabelExpression][] = [
  [new RegExp(`^(${key}) *(?:==?) *(${value})$`), ([, name = "", wanted = ""]) => ({ key: name, operator: "In", values: [wanted] })],
  [new RegExp(`^(${key}) *!= *(${value})$`), ([, name = "", unwanted = ""]) => ({ key: name, operator: "NotIn", values: [unwanted] })],
  [new RegExp(`^(${key}) +in +\\(([^()]*)\\)$`), ([, name = "", list = ""]) => ({ key: name, operator: "In", values: valuesOf(list) })],
  [new RegExp(`^(${key}) +notin +\\(([^()]*)\\)$`), ([, name = "", list = ""]) => ({ key: name, operator: "NotIn", values: valuesOf(list) })],
  [new RegExp(`^! *(${key})$`), ([, name = ""]) => ({ key: name, operator: "DoesNotExist" })],
  [new RegExp(`^(${key})$`), ([, name = ""]) => ({ key: name, operator: "Exists" })],
];

/** kubectl's selector: "env=prod,region in (eu,us),!edge". The text is at most 1,000 characters, which the API's schema holds. */
export function parseLabelSelector(text: string): ParsedSelector {
  const expressions: LabelExpression[] = [];
  for (const part of text.split(/,(?![^()]*\))/).map((piece) => piece.trim())) {
    if (part === "") continue;
    const form = forms.map(([pattern, build]) => ({ match: pattern.exec(part), build })).find(({ match }) => match !== null);
    if (form === undefined || form.match === null)
      return { ok: false, message: `'${part}' is no label requirement; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key` };
    expressions.push(form.build(form.match));
  }
  return { ok: true, expressions };
}

function valuesOf(list: string): string[] {
  return list.split(",").map((part) => part.trim());
}
