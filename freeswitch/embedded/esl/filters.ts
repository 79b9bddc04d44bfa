import type { FsEvent } from './event.ts';

interface Filter {
  name: string;
  value: string;
}

/** The `filter` command of one connection: with any filter set, only matching events pass. */
export class Filters {
  #list: Filter[] = [];

  /** @returns the reply to `filter <argument>` */
  command(argument: string): string {
    let [name, value] = firstWord(argument);
    if (name.toLowerCase() === 'delete' && value !== undefined) {
      const [target, wanted] = firstWord(value);
      if (target.toLowerCase() === 'all') this.#list = [];
      else {
        this.#list = this.#list.filter(
          (f) =>
            f.name.toLowerCase() !== target.toLowerCase() ||
            (wanted !== undefined && f.value.toLowerCase() !== wanted.toLowerCase()),
        );
      }
      return `+OK filter deleted. [${target}][${wanted ?? ''}]`;
    }
    if (value === undefined) return '-ERR invalid syntax';
    if (name.toLowerCase() === 'add') [name, value = ''] = firstWord(value);
    if (this.#list.length < 1000) this.#list.push({ name, value });
    return `+OK filter added. [${name}]=[${value}]`;
  }

  passes(event: FsEvent): boolean {
    if (this.#list.length === 0) return true;
    let send = false;
    for (const { name, value } of this.#list) {
      const actual = event.header(name);
      if (actual === undefined) continue;
      const sign = /^[+\- ]*/.exec(value)?.[0] ?? '';
      const positive = sign.lastIndexOf('-') <= sign.lastIndexOf('+');
      if (send && positive) continue;
      if (!matches(actual, value.slice(sign.length), value.startsWith('/'))) continue;
      send = positive;
      if (!positive) break;
    }
    return send;
  }
}

/** A comparison without regard to case, or a pattern between slashes. */
function matches(actual: string, value: string, pattern: boolean): boolean {
  if (!pattern) return actual.toLowerCase() === value.toLowerCase();
  const parts = /^\/(.*)\/([a-z]*)$/s.exec(value);
  try {
    return new RegExp(parts?.[1] ?? value, parts?.[2]?.includes('i') ? 'i' : '').test(actual);
  } catch {
    return false;
  }
}

function firstWord(text: string): [string, string | undefined] {
  const trimmed = text.replace(/^ +/, '');
  const space = trimmed.indexOf(' ');
  return space < 0 ? [trimmed, undefined] : [trimmed.slice(0, space), trimmed.slice(space + 1)];
}
