import { UNSEEN, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import { RpcRefusal, type KamailioRpc } from './kamailio-rpc.ts';

/** The tags and Call-ID that name a SIP dialog (RFC 3261 §12). */
export interface DialogId {
  callId: string;
  fromTag: string;
  toTag: string;
}

const SWEEP_MS = 30_000;
/** A call so young may not be in Kamailio's list yet. */
const GRACE_MS = 60_000;

/**
 * The dialogs that Kamailio holds: ends those whose media node has died, and finds out about relayed calls whose end was
 * told while this process was away.
 */
export class Dialogs {
  readonly #rpcs: readonly KamailioRpc[];
  readonly #calls: Calls;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;

  constructor({ rpcs, calls, logger }: { rpcs: readonly KamailioRpc[]; calls: Calls; logger: Logger }) {
    this.#rpcs = rpcs;
    this.#calls = calls;
    this.#logger = logger;
  }

  start(): void {
    const tick = (): void => {
      this.#timer = setTimeout(() => void this.#sweep().finally(tick), SWEEP_MS);
    };
    tick();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** BYE to both sides of a dialog, on whichever Kamailio has it. Returns whether one had. */
  async end({ callId, fromTag, toTag }: DialogId): Promise<boolean> {
    const results = await Promise.all(this.#rpcs.map((rpc) => rpc.call('dlg.terminate_dlg', [callId, fromTag, toTag]).then(() => true, (error: unknown) => {
      if (!(error instanceof RpcRefusal)) this.#logger.warn({ err: error, kamailio: rpc.url, sip_call_id: callId }, 'a dialog could not be ended');
      return false;
    })));
    return results.includes(true);
  }

  /** Hangs up a call that Kamailio relays. Returns false where no Kamailio has it. */
  async endRelayed(call: Call): Promise<boolean> {
    const lists = await Promise.all(this.#rpcs.map((rpc) => dialogsOf(rpc).catch(() => [])));
    const dialog = lists.flat().find(({ callId }) => callId === call.sipCallId);
    return dialog !== undefined && this.end(dialog);
  }

  async #sweep(): Promise<void> {
    const relayed = this.#calls.live().filter((call) => call.routeMode === 'sip' && Date.now() - call.createdAt.getTime() > GRACE_MS);
    if (relayed.length === 0) return;
    try {
      const lists = await Promise.all(this.#rpcs.map((rpc) => dialogsOf(rpc)));
      const held = new Set(lists.flat().map((dialog) => dialog.callId));
      for (const call of relayed) {
        if (call.sipCallId && held.has(call.sipCallId)) continue;
        this.#calls.note(call, 'call.ended_unseen', { message: 'the call ended while the control plane was away' });
        this.#calls.end(call, { hangup: { by: 'platform', cause: UNSEEN } });
      }
    } catch (error) {
      this.#logger.warn({ err: error }, 'the dialogs of kamailio could not be listed');
    }
  }
}

async function dialogsOf(rpc: KamailioRpc): Promise<DialogId[]> {
  const list = await rpc.call('dlg.list');
  return (Array.isArray(list) ? list : []).map((item: unknown) => {
    const dialog = item as { 'call-id'?: string; caller?: { tag?: string }; callee?: { tag?: string } };
    return { callId: dialog['call-id'] ?? '', fromTag: dialog.caller?.tag ?? '', toTag: dialog.callee?.tag ?? '' };
  });
}
