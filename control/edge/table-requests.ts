import { randomUUID } from 'node:crypto';
import type { KamailioRpc } from './kamailio-rpc.ts';
import type { PieceChange } from './pieces.ts';

/** What Kamailio says of itself with every reply. */
export interface EdgeState {
  /** Another one after each start. */
  boot: string;
  /** Whether everything had been pushed since. */
  complete: boolean;
}

/** `same`: that was held already. `other`: neither that nor the one before, and nothing has been done. */
export type PushResult = 'done' | 'same' | 'other';
const RESULTS: Record<string, PushResult> = { '+': 'done', '=': 'same', '!': 'other' };

/**
 * A request's body: Kamailio reads each request into 16 KB, and works on one for some 3 ms, in which a SIP
 * peer over TCP may have to wait.
 */
const BODY = 8000;
/** In place of the names of a piece's entries. */
const AS_THEY_ARE = '-';

/** Requests to `kamailio/routes/tables.cfg`: many entries in each. */
export class TableRequests {
  readonly #rpc: KamailioRpc;
  /** As of the last reply. */
  state: EdgeState | undefined;
  /** How many requests and entries there have been. */
  readonly counters = { requests: 0, entries: 0 };

  constructor(rpc: KamailioRpc) {
    this.#rpc = rpc;
  }

  /**
   * Compares the entries Kamailio holds with digests.
   * @returns the digests held of the pieces that differ; empty where nothing is
   */
  async check(digests: ReadonlyMap<number, string>): Promise<Map<number, string>> {
    const lines = await this.#ask(
      'check',
      [...digests].map(([piece, digest]) => `${piece}\t${digest}\n`).join(''),
    );
    return new Map(
      lines.map((line) => {
        const [piece, held = ''] = line.split('\t');
        return [Number(piece), held];
      }),
    );
  }

  /** What Kamailio holds of a piece. */
  async entries(piece: number): Promise<{ held: string; names: string[] }> {
    const [held = '', names = ''] = await this.#ask('entries', `${piece}\n`);
    return { held, names: names === '' ? [] : names.split('\t') };
  }

  /** @returns the result of each piece, in order */
  async push(changes: readonly PieceChange[]): Promise<PushResult[]> {
    const results: PushResult[] = [];
    let body = '';
    const send = async (): Promise<void> => {
      if (body !== '')
        results.push(...(await this.#ask('push', body)).map((line) => RESULTS[line] ?? 'other'));
      body = '';
    };
    const ends: number[] = [];
    let parts = 0;
    for (const change of changes) {
      this.counters.entries += change.entries.size;
      for (const part of partsOf(change)) {
        if (body.length + part.length > BODY) await send();
        body += body === '' ? part : `\r${part}`;
        parts++;
      }
      ends.push(parts);
    }
    await send();
    // The parts of a piece stand or fall with the last.
    return ends.map((end) => results[end - 1] ?? 'other');
  }

  async #ask(what: 'check' | 'entries' | 'push', body: string): Promise<string[]> {
    this.counters.requests++;
    const [first = '', ...lines] = (await this.#rpc.tables(what, body)).split('\n');
    const [boot = '', complete = ''] = first.split('\t');
    this.state = { boot, complete: complete !== '' };
    lines.pop();
    return lines;
  }
}

/**
 * A change as Kamailio reads it: in one text, or in several where it is large. Between them the piece has
 * digests that nobody else knows, and the names of what was there and of what will be, so that whatever is
 * left half done is seen and mended.
 */
function partsOf({ piece, before, after, names, entries }: PieceChange): string[] {
  const lines = [...entries].map(([name, value]) => `${name}\t${value}\n`);
  const chunks: string[][] = [[]];
  let size = names.join('\t').length;
  for (const line of lines) {
    if (size + line.length > BODY && chunks.at(-1)?.length) {
      chunks.push([]);
      size = 0;
    }
    chunks.at(-1)?.push(line);
    size += line.length;
  }
  let held = before;
  return chunks.map((chunk, i) => {
    const last = i === chunks.length - 1;
    const next = last ? after : `part-${randomUUID()}`;
    const now = last ? names : i === 0 ? [...new Set([...names, ...entries.keys()])] : undefined;
    const text = `${piece}\t${held}\t${next}\n${now ? now.join('\t') : AS_THEY_ARE}\n${chunk.join('')}`;
    held = next;
    return text;
  });
}
