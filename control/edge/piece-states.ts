import type { Touched } from '../directory/directory.ts';
import { MANY, PIECES, type Changed, type Pieces } from './pieces.ts';

const NOTHING: Changed = { names: new Set(), all: false };

/**
 * What one Kamailio is known to hold of each piece, and which pieces have to be seen to: urgent ones, which
 * an API call has changed, before those that are due.
 */
export class PieceStates {
  readonly #pieces: Pieces;
  /** The digest held of each piece; undefined where that is not known. */
  readonly #held = new Array<string | undefined>(PIECES);
  /** What has changed since, of pieces whose digest is known, or is asked for just now. */
  readonly #changed = new Map<number, Changed>();
  readonly #asked = new Set<number>();
  readonly #urgent = new Set<number>();
  readonly #due = new Set<number>();

  constructor(pieces: Pieces) {
    this.#pieces = pieces;
  }

  get urgent(): number {
    return this.#urgent.size;
  }

  get due(): number {
    return this.#due.size;
  }

  /** How many pieces are not known to be as they should. */
  get open(): number {
    let both = 0;
    for (const piece of this.#urgent) if (this.#due.has(piece)) both++;
    return this.#urgent.size + this.#due.size - both;
  }

  /** The digest held, and what has changed since; undefined where it is not known. */
  heldOf(piece: number): { digest: string; changed: Changed } | undefined {
    const digest = this.#held[piece];
    return digest === undefined ? undefined : { digest, changed: this.#changed.get(piece) ?? NOTHING };
  }

  /** A change of many numbers at once is not urgent: others' changes must not wait for it. */
  touched(touched: Touched): void {
    const open = touched.numbers.length > MANY ? this.#due : this.#urgent;
    for (const [piece, { names, all }] of this.#pieces.changed(touched)) {
      open.add(piece);
      if (this.#held[piece] === undefined && !this.#asked.has(piece)) continue;
      const known = this.#changed.get(piece) ?? { names: new Set<string>(), all: false };
      for (const name of names) known.names.add(name);
      known.all ||= all;
      this.#changed.set(piece, known);
    }
  }

  /** Nothing is known of what is held. The trunks come first: a number without one serves nobody. */
  forget(): void {
    this.#held.fill(undefined);
    this.#changed.clear();
    this.#asked.clear();
    this.#due.clear();
    for (let piece = 0; piece < PIECES; piece++) this.#due.add(piece);
  }

  /** Some of the urgent pieces, or of those due: as many as one request compares. */
  next(which: 'urgent' | 'due', { pieces, entries }: { pieces: number; entries: number }): number[] {
    const batch: number[] = [];
    let size = 0;
    for (const piece of which === 'urgent' ? this.#urgent : this.#due) {
      if (batch.length >= pieces || (batch.length > 0 && size > entries)) break;
      batch.push(piece);
      size += this.#pieces.sizeOf(piece);
    }
    return batch;
  }

  /** It is being compared: what changes from here on is noted. */
  asked(piece: number): void {
    this.#asked.add(piece);
  }

  /** It is being pushed with all that has changed so far. Until the reply it is not known what is held. */
  pushed(piece: number): void {
    this.#held[piece] = undefined;
    this.#changed.delete(piece);
    this.#urgent.delete(piece);
    this.#due.add(piece);
    this.#asked.add(piece);
  }

  /** This is held. Where it is not what should be, the piece has been touched meanwhile, and stays open. */
  isHeld(piece: number, digest: string): void {
    this.#held[piece] = digest;
    this.#asked.delete(piece);
    if (digest !== this.#pieces.digestOf(piece)) return void this.#due.add(piece);
    this.#changed.delete(piece);
    this.#urgent.delete(piece);
    this.#due.delete(piece);
  }

  /** What is held of it has to be found out. */
  unknown(piece: number): void {
    this.#held[piece] = undefined;
    this.#changed.delete(piece);
    this.#asked.delete(piece);
    this.#due.add(piece);
  }

  /** No reply has come, to whatever was asked. */
  silence(): void {
    for (const piece of this.#asked) this.unknown(piece);
  }
}
