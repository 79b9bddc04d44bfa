import type { Dialog } from '../sip/dialog.ts';
import { parseCSeq } from '../sip/fields.ts';
import type { SipRequest, SipResponse } from '../sip/message.ts';
import { ALLOW, type UserAgent } from '../sip/user-agent.ts';
import type { LegMedia } from './leg-media.ts';
import { minSessionExpires } from '../sip/session-expires.ts';

export interface RefresherOptions {
  ua: UserAgent;
  dialog: Dialog;
  media: LegMedia;
  contact: string;
  /** The far end has agreed: what it says of the timer is in its answer. */
  onRefreshed: (response: SipResponse) => void;
  /** It has not, and may be asked again after so many ms. */
  onRefused: (retryMs: number) => void;
  /** It knows the call no more, or does not answer at all: the call is over (RFC 4028 section 10). */
  onGone: () => void;
}

/** A refusal that is no verdict on the session: it is asked for again after a while. */
const RETRY_MS = 10_000;

/**
 * Refreshes a session from this side: an UPDATE without a description, or a re-INVITE with the one there is,
 * where UPDATE is unknown.
 */
export class Refresher {
  readonly #options: RefresherOptions;
  #updates: boolean;
  #pending: 'INVITE' | 'UPDATE' | undefined;

  /** @param updates whether the far end takes UPDATE, as its Allow says */
  constructor(options: RefresherOptions, updates: boolean) {
    this.#options = options;
    this.#updates = updates;
  }

  /** A re-INVITE of ours has no answer yet: one of the far end's has to wait (RFC 3261 section 14.2). */
  get inviting(): boolean {
    return this.#pending === 'INVITE';
  }

  refresh(seconds: number, shortest = 0): void {
    // A re-INVITE has the description as it stands, under its old version: nothing changes (section 7.4).
    if (this.#updates) this.#ask('UPDATE', '', seconds, shortest);
    else this.#ask('INVITE', this.#options.media.localSdp, seconds, shortest);
  }

  /**
   * Offers the audio anew, under a new version: whatever is between the two sides sets it up again.
   * @param seconds of the session's timer, which goes on as it is; 0 for none
   * @returns false while another request of ours has no answer
   */
  renegotiate(seconds: number): boolean {
    return this.#ask('INVITE', this.#pending ? '' : this.#options.media.offer(), seconds, 0);
  }

  #ask(method: 'INVITE' | 'UPDATE', sdp: string, seconds: number, shortest: number): boolean {
    if (this.#pending) return false;
    this.#pending = method;
    const { ua, dialog } = this.#options;
    const { request, peer } = dialog.makeRequest(method);
    this.#fill(request, sdp, Math.max(seconds, shortest), shortest);
    const onTimeout = (): void => {
      this.#pending = undefined;
      this.#options.onGone();
    };
    const onResponse = (response: SipResponse): void => this.#answered(response, request, seconds);
    if (method === 'UPDATE') ua.transactions.request(request, peer, onResponse, onTimeout);
    else ua.transactions.invite(request, peer, onResponse, onTimeout);
    return true;
  }

  #fill(request: SipRequest, sdp: string, seconds: number, shortest: number): void {
    const { contact } = this.#options;
    const { headers } = request;
    headers
      .add('Contact', contact)
      .add('User-Agent', 'MiniVoice')
      .add('Allow', ALLOW)
      .add('Supported', 'timer');
    if (seconds > 0) headers.add('Session-Expires', `${seconds};refresher=uac`);
    if (shortest > 0) headers.add('Min-SE', String(shortest));
    if (sdp === '') return;
    headers.add('Content-Type', 'application/sdp').add('Content-Disposition', 'session');
    request.body = Buffer.from(sdp, 'latin1');
  }

  #answered(response: SipResponse, request: SipRequest, seconds: number): void {
    const { status, headers } = response;
    if (status < 200) return;
    const again = status < 300 && request.method === 'INVITE';
    if (again) this.#acknowledge(request);
    // A 200 may come again, because our ACK was lost.
    if (!this.#pending) return;
    this.#pending = undefined;
    if (status < 300) {
      this.#options.dialog.refreshTarget(headers);
      this.#options.onRefreshed(response);
    } else if (status === 422 && minSessionExpires(headers) > seconds) {
      this.#ask(
        request.method === 'UPDATE' ? 'UPDATE' : 'INVITE',
        request.body.toString('latin1'),
        seconds,
        minSessionExpires(headers),
      );
    } else if (status === 408 || status === 481) this.#options.onGone();
    else if (request.method === 'UPDATE' && (status === 405 || status === 501)) {
      this.#updates = false;
      this.refresh(seconds);
    } else this.#options.onRefused(status === 491 ? 2_100 + Math.random() * 1_900 : RETRY_MS);
  }

  #acknowledge(invite: SipRequest): void {
    const { ua, dialog } = this.#options;
    const { request, peer } = dialog.makeAck(parseCSeq(invite.headers.get('cseq'))?.number ?? 0);
    ua.transactions.acknowledge(request, peer);
  }
}
