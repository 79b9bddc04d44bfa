/** A field after a PATCH: left out, it stays; null takes it away. */
export function patched<T>(given: T | null | undefined, stored: T | undefined): T | undefined {
  return given === undefined ? stored : (given ?? undefined);
}
