import type { EventFormat } from './event.ts';
import { EVENT_NAMES } from './event-names.ts';

/** Which events one connection wants, and how they are written. */
export class Subscription {
  #names = new Set<string>();
  #active = false;
  format: EventFormat = 'plain';

  wants(name: string): boolean {
    return this.#active && (this.#names.has('ALL') || this.#names.has(name));
  }

  /** @returns the reply to `event <argument>` */
  add(argument: string): string {
    const words = argument.split(' ').filter(Boolean);
    const first = words[0]?.toLowerCase();
    if (first === 'plain' || first === 'json' || first === 'xml') {
      // XML is not made here: plain text is what such a client can read too.
      this.format = first === 'json' ? 'json' : 'plain';
      words.shift();
    }
    const names = known(words);
    if (names.length === 0) return '-ERR no keywords supplied';
    for (const name of names) this.#names.add(name);
    this.#active = true;
    return `+OK event listener enabled ${this.format}`;
  }

  /** @returns the reply to `nixevent <argument>` */
  remove(argument: string): string {
    const names = known(argument.split(' ').filter(Boolean));
    if (names.length === 0) return '-ERR no keywords supplied';
    for (const name of names) {
      if (name === 'ALL') this.#names.clear();
      else if (name !== 'CUSTOM') {
        if (this.#names.delete('ALL')) this.#names = new Set([...EVENT_NAMES].filter((n) => n !== 'ALL'));
        this.#names.delete(name);
      }
    }
    this.#active = true;
    return '+OK events nixed';
  }

  /** @returns the reply to `noevents` */
  clear(): string {
    if (!this.#active) return '-ERR not listening for events';
    this.#active = false;
    this.#names.clear();
    return '+OK no longer listening for events';
  }
}

/** The events among the words; behind CUSTOM come subclasses, of which this node makes none. */
function known(words: readonly string[]): string[] {
  const names: string[] = [];
  for (const word of words) {
    const name = word.toUpperCase();
    if (!EVENT_NAMES.has(name)) continue;
    names.push(name);
    if (name === 'CUSTOM') break;
  }
  return names;
}
