import { isTerminal, type Call } from '../calls/call.ts';
import type { CallEnding, Calls } from '../calls/calls.ts';
import type { CallEnder } from './call-ender.ts';

interface Options {
  calls: Calls;
  ender: Pick<CallEnder, 'end' | 'tryToEnd'>;
}

/** An end that must happen is tried after so many ms, then after twice as many, up to the longest. */
const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/**
 * Ends calls that no media node has. Their record ends when they do: until then they are in progress, and are
 * paid for.
 */
export class RelayedEnds {
  readonly #options: Options;
  /**
   * As what the end of a call is to be told that this process has asked for: Kamailio will say that it has
   * ended the call itself.
   */
  readonly #asked = new Map<string, CallEnding>();
  readonly #trying = new Map<string, { timer?: NodeJS.Timeout }>();
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    options.calls.lifecycle.afterEnd('relayed ends', ({ id }) => {
      this.#asked.delete(id);
      clearTimeout(this.#trying.get(id)?.timer);
      this.#trying.delete(id);
    });
  }

  /** Calls whose end is being tried, for a gauge. */
  get trying(): number {
    return this.#trying.size;
  }

  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#trying.values()) clearTimeout(timer);
  }

  /** What an end of this call in Kamailio's own name is to be told as, where it is ours. */
  asked(callId: string): CallEnding | undefined {
    return this.#asked.get(callId);
  }

  /**
   * Ends a call once, for somebody who waits. Returns false where nothing has it any more.
   * @throws ApiError service_unavailable, when it may go on
   */
  async end(call: Call, ending: CallEnding): Promise<boolean> {
    const before = this.#asked.get(call.id);
    this.#asked.set(call.id, before ?? ending);
    try {
      const had = await this.#options.ender.end(call);
      if (had) this.#options.calls.end(call, before ?? ending);
      return had;
    } finally {
      if (!before && !this.#trying.has(call.id)) this.#asked.delete(call.id);
    }
  }

  /** Ends a call that must not go on, and does not give up before it is over. */
  endUntilOver(call: Call, ending: CallEnding): void {
    if (isTerminal(call.status) || this.#trying.has(call.id)) return;
    this.#asked.set(call.id, ending);
    this.#trying.set(call.id, {});
    void this.#try(call, ending, FIRST_MS);
  }

  async #try(call: Call, ending: CallEnding, pauseMs: number): Promise<void> {
    const { calls, ender } = this.#options;
    const { some, all } = await ender.tryToEnd(call);
    const trying = this.#trying.get(call.id);
    if (!trying) return; // It has ended meanwhile.
    if (some || all) return calls.end(call, ending);
    if (pauseMs === FIRST_MS)
      calls.note(call, 'call.end_delayed', {
        reason: ending.failure?.code,
        message: 'the call cannot be reached; its end is tried until it has happened',
      });
    if (this.#stopped) return;
    trying.timer = setTimeout(() => void this.#try(call, ending, Math.min(pauseMs * 2, LONGEST_MS)), pauseMs);
  }
}
