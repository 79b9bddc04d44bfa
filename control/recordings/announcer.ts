import type { Knex } from 'knex';
import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { RecordingEvent } from '../calls/events.ts';
import { Turns } from '../lib/turns.ts';

interface Options {
  calls: Calls;
  /** A call as the database has it. */
  storedCall: (id: string) => Promise<Call | undefined>;
  /** For what is written of a call that nobody knows. */
  transaction: (work: (trx: Knex.Transaction) => Promise<void>) => Promise<void>;
}

/** Tells the events of recordings, whose calls have often ended by then. */
export class Announcer {
  readonly #options: Options;
  readonly #turns = new Turns();

  constructor(options: Options) {
    this.#options = options;
  }

  /** Calls whose events are on their way to the database. */
  get pending(): number {
    return this.#turns.size;
  }

  /**
   * Emits an event of a call together with what `also` writes; resolves when both are in the database. The
   * events of one call wait for each other: an ended call is read anew for each, and a reading between two
   * would count them wrongly.
   */
  tell(
    callId: string,
    event: RecordingEvent,
    data: Record<string, unknown>,
    also?: (trx: Knex.Transaction) => Promise<void>,
  ): Promise<void> {
    return this.#turns.take(callId, async () => {
      const { calls, storedCall, transaction } = this.#options;
      let call = calls.get(callId);
      if (!call) {
        const stored = await storedCall(callId);
        call = stored && calls.adopt(stored);
      }
      if (call) await calls.recording(call, event, data, also);
      // The call was never stored, or not kept: there is nobody to tell.
      else if (also) await transaction(also);
    });
  }
}
