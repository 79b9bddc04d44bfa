import { createHash } from 'node:crypto';
import type { Logger } from '../lib/logger.ts';
import type { Directory, Touched } from '../directory/directory.ts';
import { SHARDS, shardOf } from '../directory/number-shards.ts';
import { numberTablesOf, TABLES, trunkTablesOf, type TableName } from './tables.ts';

/** The entries of all tables but the numbers' are spread over so many pieces, which come first. */
const TRUNK_PIECES = 64;
export const PIECES = TRUNK_PIECES + SHARDS;

/** In bytes: Kamailio reads a request into 16 KB. Only entries that many trunks share could be longer. */
const LONGEST = 6000;

/**
 * Of so many numbers that change at once not each is remembered: all numbers of their pieces are pushed
 * again.
 */
export const MANY = 200;

/** What may have changed of a piece since it was pushed: these entries, and all of its numbers. */
export interface Changed {
  names: Set<string>;
  all: boolean;
}

/** An entry's name is the letter of its table and its key. */
export type Entries = ReadonlyMap<string, string>;

/** Changes of one piece, done only where the digest held is the one before. */
export interface PieceChange {
  piece: number;
  /** Empty: nothing is held. */
  before: string;
  after: string;
  /** Of everything the piece has afterwards. */
  names: readonly string[];
  /** An empty value removes the entry. */
  entries: Entries;
}

type Named = Partial<Record<TableName, Map<string, string>>>;

/**
 * What Kamailio should hold, cut in pieces that are compared by their digests and pushed each by itself. All
 * processes cut alike and number the pieces alike.
 */
export class Pieces {
  readonly #directory: Directory;
  readonly #token: string;
  readonly #logger: Logger;
  readonly #digests: (string | undefined)[] = new Array<string | undefined>(PIECES);
  /** Of the trunks' pieces; worked out again when any trunk has changed. */
  #trunks: Map<string, string>[] | undefined;

  /** @param token the secret shared with Kamailio */
  constructor(directory: Directory, token: string, logger: Logger) {
    this.#directory = directory;
    this.#token = token;
    this.#logger = logger;
  }

  /** What a piece should hold, in the order of the names. */
  entriesOf(piece: number): Entries {
    if (piece < TRUNK_PIECES) return this.#trunkPieces()[piece] ?? new Map();
    const entries = new Map<string, string>();
    for (const number of this.#directory.shard(piece - TRUNK_PIECES).keys())
      addNamed(entries, numberTablesOf(this.#directory, number));
    return sorted(entries);
  }

  /** How many entries a piece has, about. */
  sizeOf(piece: number): number {
    return piece < TRUNK_PIECES
      ? (this.#trunkPieces()[piece]?.size ?? 0)
      : this.#directory.shard(piece - TRUNK_PIECES).size;
  }

  /** The same for the same entries, in every process and in `kamailio/routes/tables.cfg`. */
  digestOf(piece: number): string {
    return (this.#digests[piece] ??= digest(this.entriesOf(piece)));
  }

  /** The numbers whose entries are in a piece; undefined of a piece that holds the trunks' entries. */
  numbersOf(piece: number): string[] | undefined {
    return piece < TRUNK_PIECES ? undefined : [...this.#directory.shard(piece - TRUNK_PIECES).keys()];
  }

  /** @returns what may have changed, by piece */
  changed({ numbers, trunks }: Touched): Map<number, Changed> {
    const changed = new Map<number, Changed>();
    const at = (piece: number): Changed =>
      changed.get(piece) ?? (changed.set(piece, { names: new Set(), all: false }).get(piece) as Changed);
    const many = numbers.length > MANY;
    for (const number of numbers) {
      const one = at(TRUNK_PIECES + shardOf(number));
      if (many) one.all = true;
      if (many && this.#directory.didByNumber(number)) continue;
      one.names.add(TABLES.dids + number).add(TABLES.sip_targets + number);
    }
    if (trunks) {
      const before = this.#trunks;
      this.#trunks = undefined;
      this.#trunkPieces().forEach((now, piece) => {
        for (const [name, value] of now) if (before?.[piece]?.get(name) !== value) at(piece).names.add(name);
        for (const name of before?.[piece]?.keys() ?? []) if (!now.has(name)) at(piece).names.add(name);
      });
    }
    for (const piece of changed.keys()) this.#digests[piece] = undefined;
    return changed;
  }

  /** What to push of a piece to one who holds what it held before it changed. */
  changeOf(piece: number, before: string, { names, all }: Changed): PieceChange {
    const wanted = this.entriesOf(piece);
    const after = (this.#digests[piece] = digest(wanted));
    const entries = new Map<string, string>();
    if (all) {
      for (const [name, value] of wanted) entries.set(name, value);
      // Whoever holds nothing has nothing to remove.
      for (const number of before === '' ? [] : (this.numbersOf(piece) ?? [])) {
        for (const table of [TABLES.dids, TABLES.sip_targets])
          if (!wanted.has(table + number)) entries.set(table + number, '');
      }
    }
    for (const name of names) entries.set(name, wanted.get(name) ?? '');
    return { piece, before, after, names: [...wanted.keys()], entries };
  }

  /** Everything is worked out anew. */
  forget(): void {
    this.#digests.fill(undefined);
    this.#trunks = undefined;
  }

  #trunkPieces(): Map<string, string>[] {
    if (this.#trunks) return this.#trunks;
    const all = new Map<string, string>();
    addNamed(all, trunkTablesOf(this.#directory, this.#token));
    for (const [name, value] of all) {
      if (Buffer.byteLength(name + value) <= LONGEST) continue;
      all.delete(name);
      this.#logger.error(
        { entry: name },
        'too many trunks share an address or a username: kamailio does not know them by it',
      );
    }
    const pieces = Array.from({ length: TRUNK_PIECES }, () => new Map<string, string>());
    for (const [name, value] of sorted(all))
      pieces[createHash('md5').update(name).digest().readUInt8() % TRUNK_PIECES]?.set(name, value);
    return (this.#trunks = pieces);
  }
}

/** A table's letter, key by key. An empty value says nothing, and Kamailio cannot tell it from none. */
function addNamed(entries: Map<string, string>, tables: Named): void {
  for (const [table, rows] of Object.entries(tables)) {
    for (const [key, value] of rows) if (value !== '') entries.set(TABLES[table as TableName] + key, value);
  }
}

const sorted = (entries: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));

function digest(entries: Entries): string {
  let text = '';
  for (const [name, value] of entries) text += `${name}\t${value}\n`;
  return createHash('md5').update(text).digest('hex');
}
