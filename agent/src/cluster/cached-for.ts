/** A value that is read again when its copy is older than ageMs. Concurrent readers share one read. */
export function cachedFor<T>(ageMs: number, read: () => Promise<T>): { readonly read: () => Promise<T>; readonly forget: () => void } {
  let copy: { readonly value: Promise<T>; readonly until: number } | undefined;
  const forget = () => {
    copy = undefined;
  };
  return {
    forget,
    read: () => {
      if (!copy || copy.until <= Date.now()) {
        const value = read();
        copy = { value, until: Date.now() + ageMs };
        // A failed read is not a copy.
        value.catch(forget);
      }
      return copy.value;
    },
  };
}
