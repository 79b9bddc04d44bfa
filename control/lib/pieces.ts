/** So many items take a few milliseconds of work at most. */
const PIECE = 500;

/**
 * The items of a long list in pieces; between two pieces, whatever else waits for this process has its turn.
 */
export async function* inPieces<T>(items: Iterable<T>, size = PIECE): AsyncGenerator<T[], void> {
  let piece: T[] = [];
  for (const item of items) {
    piece.push(item);
    if (piece.length < size) continue;
    yield piece;
    piece = [];
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  if (piece.length > 0) yield piece;
}
