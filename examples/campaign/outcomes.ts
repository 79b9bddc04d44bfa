import { EventEmitter, once } from 'node:events';
import type { Webhook } from '../serve.ts';

const KEPT = ['call.completed', 'call.failed', 'call.canceled', 'recording.completed', 'recording.failed'];

/**
 * What webhooks tell of a campaign's calls, by call id. One may come before the reply that says which call it
 * is about, so those of the campaign are kept until somebody asks.
 */
export class Outcomes {
  readonly #campaignId: string;
  readonly #told = new Map<string, Webhook[]>();
  readonly #news = new EventEmitter();

  constructor(campaignId: string) {
    this.#campaignId = campaignId;
  }

  readonly take = (webhook: Webhook): void => {
    const { event, call } = webhook;
    if (call.metadata.campaign_id !== this.#campaignId || !KEPT.includes(event)) return;
    this.#told.set(call.id, [...(this.#told.get(call.id) ?? []), webhook]);
    this.#news.emit(call.id);
  };

  /**
   * The call's first webhook of one of these events, which has come or will within so many ms; undefined if
   * none does.
   */
  async wait(callId: string, events: readonly string[], ms: number): Promise<Webhook | undefined> {
    const signal = AbortSignal.timeout(ms);
    for (;;) {
      const found = this.#told.get(callId)?.find(({ event }) => events.includes(event));
      if (found || signal.aborted) return found;
      await once(this.#news, callId, { signal }).catch(() => undefined);
    }
  }

  /** The call is not asked about any more. */
  forget(callId: string): void {
    this.#told.delete(callId);
  }
}
