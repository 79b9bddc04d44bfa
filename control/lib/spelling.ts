/**
 * How many single edits lead from one word to the other: a letter added, left out or replaced, or two
 * neighbours exchanged (optimal string alignment distance).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let least = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + same,
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1])
        least = Math.min(least, (beforeLast[column - 2] ?? 0) + 1);
      current.push(least);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** Words up to this length may differ by one edit only: `KAMAILIO_BIN` is no misspelt `KAMAILIO_SIP`. */
const SHORT = 12;

/** The known word that a misspelt one was meant to be, in capitals or not; undefined when none is near. */
export function meantBy(word: string, known: readonly string[]): string | undefined {
  const limit = word.length > SHORT ? 2 : 1;
  const [nearest] = known
    .map((one) => ({ one, edits: editDistance(word.toLowerCase(), one.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  return nearest && nearest.edits <= limit ? nearest.one : undefined;
}
