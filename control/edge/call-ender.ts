import type { Call } from '../calls/call.ts';
import type { FarEnd } from '../lib/far-end.ts';
import { ApiError } from '../lib/errors.ts';
import { inboundRtpIdOf } from '../lib/rtp-id.ts';
import type { Logger } from '../lib/logger.ts';
import { dialogsOf, endDialog, sayBye, upSince, type CallName, type Rpc } from './dialog.ts';
import { RpcRefusal } from './kamailio-rpc.ts';

export type EndedCall = CallName & Pick<Call, 'createdAt' | 'farEnds'>;

/** What became of the wish to end a call. */
export interface Ended {
  /** Some of it was there, and is not any more. */
  some: boolean;
  /** Nothing of it goes on, for certain. */
  all: boolean;
}

interface Options {
  rpcs: readonly Rpc[];
  /** What rtpengine has of a call: undefined where it cannot say. */
  audio: {
    knows(rtpId: string, since: Date): Promise<boolean | undefined>;
    forget(rtpId: string): Promise<void>;
  };
  logger: Logger;
  now?: () => Date;
}

/** What one Kamailio has said of a call. */
interface Look {
  /** The dialogs that were there, by Call-ID. */
  ended: Set<string>;
  /** Since when it is up. */
  since: Date;
}

/**
 * A dialog may change under our hands: one that rang is answered, one that was up ends. It is looked at again
 * so often.
 */
const LOOKS = 3;
/** What a far end says when it has no such call, or has just ended it. */
const GONE = new Set([404, 410, 481]);

const away = (message: string): ApiError => new ApiError('service_unavailable', message, { retryAfter: 2 });

/**
 * Ends calls at Kamailio, wherever it has them, and also where it has forgotten them: its dialogs do not
 * outlive its process.
 */
export class CallEnder {
  readonly #options: Options;
  readonly #now: () => Date;

  constructor(options: Options) {
    this.#options = options;
    this.#now = options.now ?? ((): Date => new Date());
  }

  /**
   * For who wants an answer now. Returns false where nothing of the call is left.
   * @throws ApiError service_unavailable where that cannot be said: a Kamailio cannot be reached, or a far
   *   end does not answer
   */
  async end(call: EndedCall): Promise<boolean> {
    const { some, all } = await this.tryToEnd(call);
    if (!some && !all) throw away('the call cannot be reached right now');
    return some;
  }

  /** Never rejects. To be tried again until nothing of the call is left. */
  async tryToEnd(call: EndedCall): Promise<Ended> {
    const { rpcs, logger, audio } = this.#options;
    const looks = await Promise.allSettled(rpcs.map((rpc) => this.#endAt(rpc, call)));
    const missed = looks.find((look) => look.status === 'rejected');
    if (missed)
      logger.warn({ err: missed.reason, call: call.id }, 'a kamailio could not be asked to end a call');
    const seen = looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []));
    const ended = new Set(seen.flatMap((look) => [...look.ended]));
    const some = ended.size > 0;
    if (!missed && seen.every(({ since }) => since < call.createdAt)) return { some, all: true };
    // What is not listed may go on all the same.
    const forgotten = (call.farEnds ?? []).filter(({ sipCallId }) => !ended.has(sipCallId));
    const rpc = rpcs.find((_, index) => looks[index]?.status === 'fulfilled');
    if (rpc && forgotten.length > 0) {
      const codes = await Promise.all(forgotten.map((end) => this.#bye(rpc, call, end)));
      return {
        some: some || codes.some(isSuccess),
        all: codes.every((code) => isSuccess(code) || GONE.has(code)),
      };
    }
    if (missed) return { some, all: false };
    return { some, all: some || (await audio.knows(inboundRtpIdOf(call), call.createdAt)) === false };
  }

  async #endAt(rpc: Rpc, call: EndedCall): Promise<Look> {
    const ended = new Set<string>();
    const since = await upSince(rpc, this.#now);
    for (let looks = 0; ; looks++) {
      const dialogs = (await dialogsOf(rpc, call)).filter(({ state }) => state !== 'over');
      const changed = await Promise.all(
        dialogs.map(async (dialog) => {
          ended.add(dialog.sipCallId);
          try {
            await endDialog(rpc, dialog);
            // Kamailio has no route that runs when a call is refused so: its audio would be kept for as long
            // as the far end can be silent.
            if (dialog.state === 'ringing' && dialog.rtpId !== undefined)
              void this.#options.audio.forget(dialog.rtpId);
            return false;
          } catch (error) {
            if (!(error instanceof RpcRefusal) || looks + 1 === LOOKS) throw error;
            return true;
          }
        }),
      );
      if (!changed.includes(true)) return { ended, since };
    }
  }

  /** @returns what the far end has said; 408 for nothing */
  async #bye(rpc: Rpc, call: EndedCall, end: FarEnd): Promise<number> {
    let code = 408;
    try {
      code = await sayBye(rpc, end);
      if (!isSuccess(code) && !GONE.has(code))
        this.#options.logger.warn(
          { call: call.id, sip_call_id: end.sipCallId, code },
          'a side of a call has not answered its BYE',
        );
    } catch (error) {
      this.#options.logger.warn(
        { err: error, call: call.id, sip_call_id: end.sipCallId },
        'a BYE could not be sent',
      );
    }
    return code;
  }
}

const isSuccess = (code: number): boolean => code >= 200 && code < 300;
