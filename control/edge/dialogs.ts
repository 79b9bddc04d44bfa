import { isTerminal, UNSEEN, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import { NODE_LOST } from '../media/media.ts';
import { RpcRefusal, type KamailioRpc } from './kamailio-rpc.ts';

/** A dialog as Kamailio lists it. */
interface Dialog {
  /** The tags and Call-ID that name it (RFC 3261 §12). */
  callId: string;
  fromTag: string;
  toTag: string;
  /** The number of its INVITE. */
  cseq: string;
  answered: boolean;
  /** Since when, where it is. */
  answeredAt: Date | undefined;
  /** The call it is a leg of, where there is one. */
  call: string | undefined;
}

const SWEEP_MS = 30_000;
/** A call so young may not be in Kamailio's list yet. */
const GRACE_MS = 60_000;
/** A node that dies takes many calls with it: Kamailio is asked once for those of so long. */
const GATHER_MS = 100;
/** State of a dialog from its 200 on (dialog module: 1 and 2 are before it). */
const ANSWERED = 3;
/** How often Kamailio is asked again when it cannot be reached, a second apart. One that has restarted has no dialogs. */
const TRIES = 10;

/**
 * The dialogs that Kamailio holds: ends those whose media node has died, and finds out about relayed calls whose end was
 * told while this process was away.
 */
export class Dialogs {
  readonly #rpcs: readonly Pick<KamailioRpc, 'url' | 'call'>[];
  readonly #calls: Calls;
  readonly #logger: Logger;
  readonly #now: () => Date;
  #timer: NodeJS.Timeout | undefined;
  /** Calls whose media node is gone. */
  #forsaken = new Set<string>();
  #stopped = false;

  constructor({ rpcs, calls, logger, now = () => new Date() }: { rpcs: readonly Pick<KamailioRpc, 'url' | 'call'>[]; calls: Calls; logger: Logger; now?: () => Date }) {
    this.#rpcs = rpcs;
    this.#calls = calls;
    this.#logger = logger;
    calls.onTerminal(({ id, routeMode, hangup }) => {
      if (routeMode === 'webhook' && (hangup?.cause === NODE_LOST || hangup?.cause === UNSEEN)) this.#forsake(id);
    });
    this.#now = now;
  }

  /** Looks at once, since what Kamailio told while nobody listened is not told again, and then now and then. */
  start(): void {
    const tick = (): void => {
      if (!this.#stopped) this.#timer = setTimeout(() => void this.sweep().finally(tick), SWEEP_MS);
    };
    void this.sweep().finally(tick);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Ends a dialog, on whichever Kamailio has it: BYE to both sides, or CANCEL to who rings. Returns whether one had. */
  async #end({ callId, fromTag, toTag, cseq, answered }: Dialog): Promise<boolean> {
    const results = await Promise.all(this.#rpcs.map((rpc) => (answered ? rpc.call('dlg.terminate_dlg', [callId, fromTag, toTag]) : rpc.call('tm.cancel', [callId, cseq])).then(() => true, (error: unknown) => {
      if (!(error instanceof RpcRefusal)) this.#logger.warn({ err: error, kamailio: rpc.url, sip_call_id: callId }, 'a dialog could not be ended');
      return false;
    })));
    return results.includes(true);
  }

  /** The node that held a call is gone, and cannot tell the others: the dialogs with them, the second leg's too, are ended. */
  #forsake(callId: string): void {
    if (this.#forsaken.size === 0) setTimeout(() => void this.#endForsaken(), GATHER_MS).unref();
    this.#forsaken.add(callId);
  }

  async #endForsaken(): Promise<void> {
    const calls = this.#forsaken;
    this.#forsaken = new Set();
    for (const rpc of this.#rpcs) {
      for (let tries = 0; tries < TRIES; tries++) {
        try {
          for (const dialog of await dialogsOf(rpc)) if (dialog.call !== undefined && calls.has(dialog.call)) await this.#end(dialog);
          break;
        } catch (error) {
          this.#logger.warn({ err: error, kamailio: rpc.url }, 'the dialogs of calls whose media node is gone could not be ended');
          await new Promise((resolve) => setTimeout(resolve, 1000).unref());
        }
      }
    }
  }

  /** Hangs up a call that Kamailio relays. Returns false where no Kamailio has it. */
  async endRelayed(call: Call): Promise<boolean> {
    const lists = await Promise.all(this.#rpcs.map((rpc) => dialogsOf(rpc).catch(() => [])));
    const dialog = lists.flat().find(({ callId }) => callId === call.sipCallId);
    return dialog !== undefined && this.#end(dialog);
  }

  /** Makes up for what was told of relayed calls while nobody listened: that they were answered, or that they have ended. */
  async sweep(): Promise<void> {
    const relayed = this.#calls.live().filter((call) => call.routeMode === 'sip' && !isTerminal(call.status));
    if (relayed.length === 0) return;
    try {
      const lists = await Promise.all(this.#rpcs.map((rpc) => dialogsOf(rpc)));
      const held = new Map(lists.flat().map((dialog) => [dialog.callId, dialog]));
      for (const call of relayed) {
        const dialog = call.sipCallId === undefined ? undefined : held.get(call.sipCallId);
        if (dialog?.answeredAt && !call.answeredAt) this.#calls.answered(call, new Date(Math.min(dialog.answeredAt.getTime(), this.#now().getTime())));
        if (dialog || this.#now().getTime() - call.createdAt.getTime() <= GRACE_MS) continue;
        this.#calls.note(call, 'call.ended_unseen', { message: 'the call ended while the control plane was away' });
        this.#calls.end(call, { hangup: { by: 'platform', cause: UNSEEN } });
      }
    } catch (error) {
      this.#logger.warn({ err: error }, 'the dialogs of kamailio could not be listed');
    }
  }
}

async function dialogsOf(rpc: Pick<KamailioRpc, 'call'>): Promise<Dialog[]> {
  const list = await rpc.call('dlg.list');
  return (Array.isArray(list) ? list : []).map((item: unknown) => {
    const dialog = item as { 'call-id'?: string; state?: number; start_ts?: number; caller?: { tag?: string; cseq?: string }; callee?: { tag?: string | null }; variables?: { call?: string }[] };
    return {
      callId: dialog['call-id'] ?? '', fromTag: dialog.caller?.tag ?? '', toTag: dialog.callee?.tag ?? '', cseq: dialog.caller?.cseq ?? '',
      answered: (dialog.state ?? 0) >= ANSWERED, call: dialog.variables?.find(({ call }) => call !== undefined)?.call,
      // Whole seconds, cut off: the next one is not too early.
      answeredAt: dialog.start_ts ? new Date((dialog.start_ts + 1) * 1000) : undefined,
    };
  });
}
