import { z } from 'zod';
import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { OnCall } from '../calls/owners.ts';
import { deferred } from '../lib/deferred.ts';
import type { Trunk } from '../trunks/schema.ts';

/**
 * What Kamailio tells of trunks, or of a number's SIP URIs, that have not taken a call:
 * `class;code;phrase;where|…`.
 */
export const TriesNotice = z.object({
  event: z.literal('tried'),
  call: z.string().min(1),
  tries: z.string().max(8192),
  /** 1: no other is tried. */
  last: z.coerce.number(),
});
type Notice = z.output<typeof TriesNotice>;
export const triesBody = TriesNotice.pick({ tries: true, last: true });

/**
 * How long the end of a call waits for what Kamailio has to say of its last try: a moment on a living
 * network.
 */
const PATIENCE_MS = 300;

interface Options {
  calls: Pick<Calls, 'note' | 'lifecycle'>;
  trunkOf: (id: string) => Pick<Trunk, 'gatewayName'> | undefined;
  patienceMs?: number;
}

/** Writes each try of a trunk that has failed into the call's timeline, before the end that it has led to. */
export class Tries {
  readonly #options: Options;
  /** When the last try of a call or leg was told of, before anybody waited for that. */
  readonly #told = new Map<string, Date>();
  readonly #waiting = new Map<string, (at: Date) => void>();

  constructor(options: Options) {
    this.#options = options;
    options.calls.lifecycle.afterEnd('tries', ({ id }) => this.#told.delete(id));
  }

  /** What Kamailio tells of a call of this process. */
  readonly note: OnCall<Pick<Notice, 'tries' | 'last'>, boolean> = (call, { tries, last }) => {
    const at = new Date();
    for (const text of tries.split('|').filter((part) => part !== '')) {
      const [failed = '', code = '', phrase = '', ...rest] = text.split(';');
      const where = rest.join(';');
      const trunk = this.#options.trunkOf(where);
      const name = trunk?.gatewayName ?? where;
      const answer = Number(code) > 0 ? { sip_code: Number(code), phrase: phrase.slice(0, 100) } : {};
      const message = `${name} ${WORDS[failed] ?? `answered ${code} ${phrase}`.trim()}`;
      const what = where.startsWith('sip')
        ? { uri: where }
        : { trunk_id: where, ...(trunk && { gateway_name: name }) };
      this.#options.calls.note(
        call,
        where.startsWith('sip') ? 'target.tried' : 'trunk.tried',
        { ...what, class: failed, ...answer, message },
        at,
      );
    }
    if (last === 1) this.#last(call.id, at);
    return Promise.resolve(true);
  };

  /**
   * Resolves when the last try of the leg that has just been refused is in the timeline, with its time there,
   * or when it will not be any more.
   */
  async settled({ id }: Pick<Call, 'id'>): Promise<Date | undefined> {
    const known = this.#told.get(id);
    this.#told.delete(id);
    if (known) return known;
    const told = deferred<Date | undefined>();
    this.#waiting.set(id, told.resolve);
    const late = setTimeout(() => told.resolve(undefined), this.#options.patienceMs ?? PATIENCE_MS);
    const at = await told.promise;
    clearTimeout(late);
    this.#waiting.delete(id);
    return at;
  }

  #last(id: string, at: Date): void {
    const waiting = this.#waiting.get(id);
    if (waiting) waiting(at);
    else this.#told.set(id, at);
  }
}

/** By class, for those in which an answer says little. */
const WORDS: Readonly<Record<string, string>> = {
  credentials: 'refused our credentials',
  silent: 'did not answer at all',
  no_answer: 'rang, and nobody answered',
  unreachable: 'could not be reached',
  full: 'has no place left',
};
