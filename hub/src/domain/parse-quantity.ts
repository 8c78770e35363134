const units: Readonly<Record<string, number>> = {
  "": 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** A Kubernetes quantity ("10Gi", "1.5", "1e3") as a number; undefined when it is none. */
export function parseQuantity(text: unknown): number | undefined {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.exec(
    typeof text === "number" ? String(text) : typeof text === "string" ? text : "",
  );
  if (!match) return undefined;
  const value = Number(match[1]) * (units[match[2] ?? ""] ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}
