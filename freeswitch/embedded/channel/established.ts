import { parseCSeq } from '../sip/fields.ts';
import type { Dialog } from '../sip/dialog.ts';
import { digitOfInfo } from '../sip/info-dtmf.ts';
import type { Headers, SipRequest, SipResponse } from '../sip/message.ts';
import {
  answeredTimer,
  asksTooShort,
  MIN_SESSION_EXPIRES,
  sessionExpires,
  supportsTimer,
} from '../sip/session-expires.ts';
import type { ServerTransaction } from '../sip/server-transaction.ts';
import { unsupportedOf, type UserAgent } from '../sip/user-agent.ts';
import type { LegListener, RemoteEnd } from './leg.ts';
import type { LegMedia } from './leg-media.ts';
import { Refresher } from './refresher.ts';
import { SessionTimer } from './session-timer.ts';

export interface EstablishedOptions {
  ua: UserAgent;
  dialog: Dialog;
  media: LegMedia;
  contact: string;
  /** The headers of the far end's first message in the dialog: what it can do. */
  peer: Headers;
  listener: () => LegListener | undefined;
  /** The far end has said goodbye, or our own goodbye is on its way: the dialog is to be forgotten. */
  onOver: () => void;
}

/** What goes on in a dialog once it is there, whoever has opened it: refreshes, hold, keys, the end. */
export class Established {
  readonly #options: EstablishedOptions;
  /** A 2xx of ours waits for its ACK, and a BYE for that (RFC 3261 section 15.1.1 forbids it before). */
  #unacknowledged: ServerTransaction | undefined;
  #byeWaits = false;
  /** The INVITE that has our offer and owes us the answer in its ACK. */
  #offered: ServerTransaction | undefined;
  #lastInvite: ServerTransaction | undefined;
  readonly #timer: SessionTimer;
  readonly #refresher: Refresher;
  #over = false;

  constructor(options: EstablishedOptions) {
    this.#options = options;
    const expired = (): void => this.#tellEnd('expired');
    this.#timer = new SessionTimer((seconds) => this.#refresher.refresh(seconds), expired);
    this.#refresher = new Refresher(
      {
        ...options,
        onRefreshed: (response) => this.#refreshed(response),
        onRefused: (retryMs) => this.#timer.again(retryMs),
        onGone: expired,
      },
      /\bUPDATE\b/i.test(options.peer.all('allow').join(',')),
    );
  }

  /**
   * The far end's 200 to an INVITE or a refresh of ours: it says how long the session lasts (RFC 4028 section
   * 7.2).
   */
  answered(headers: Headers): void {
    const agreed = sessionExpires(headers);
    this.#timer.start(agreed && { seconds: agreed.seconds, ours: agreed.refresher !== 'uas' });
  }

  /**
   * 200 with our description, repeated until its ACK; `offered` when it is an offer, whose answer the ACK
   * brings.
   */
  accept(transaction: ServerTransaction, sdp: string, offered: boolean): void {
    const { ua, dialog, contact } = this.#options;
    this.#lastInvite = transaction;
    this.#unacknowledged ??= transaction;
    if (offered) this.#offered = transaction;
    transaction.onUnacknowledged = () => {
      // Nobody confirmed: the far end may be gone, but is told (section 13.3.1.4).
      this.#unacknowledged = undefined;
      if (this.#byeWaits) this.#sendBye();
      else this.#tellEnd('no-ack');
    };
    ua.reply(transaction, 200, {
      toTag: dialog.localTag,
      contact,
      sdp,
      headers: this.#sessionTimer(transaction.request),
    });
  }

  /** Ends the call, once the ACK of our 200 is in. */
  bye(): void {
    if (this.#over) return;
    this.close();
    if (this.#unacknowledged) this.#byeWaits = true;
    else this.#sendBye();
  }

  /** Offers our audio anew. @returns false when that cannot be now */
  renegotiate(): boolean {
    if (this.#over || this.#unacknowledged || !this.#options.media.rtp) return false;
    return this.#refresher.renegotiate(this.#timer.seconds);
  }

  /** Lets go of the audio: the call is over and only the farewell is left. */
  close(): void {
    this.#timer.stop();
    this.#options.media.close();
  }

  onAck(request: SipRequest): void {
    const number = parseCSeq(request.headers.get('cseq'))?.number;
    const invite = this.#lastInvite;
    if (!invite || number !== parseCSeq(invite.request.headers.get('cseq'))?.number) return;
    invite.acknowledged();
    this.#unacknowledged = undefined;
    if (this.#byeWaits) {
      this.#byeWaits = false;
      this.#sendBye();
      return;
    }
    if (this.#offered !== invite) return;
    this.#offered = undefined;
    // A caller that asked for no more than a refresh may leave the answer out: all stays as it was.
    if (request.body.length === 0 && this.#options.media.rtp?.agreement) return;
    if (this.#options.media.accept(request.body)) this.#options.listener()?.onMediaChanged();
    else this.#tellEnd('no-codec');
  }

  /** @param answered whether the call is answered, so that its audio may be agreed on anew */
  onRequest(transaction: ServerTransaction, answered: boolean): void {
    const { ua, dialog, listener } = this.#options;
    const { request } = transaction;
    if (!dialog.accepts(request)) {
      ua.reply(transaction, 500, { headers: [['Retry-After', '1']] });
      return;
    }
    const unsupported = unsupportedOf(request);
    if (unsupported.length > 0 && request.method !== 'BYE') {
      ua.reply(transaction, 420, { headers: [['Unsupported', unsupported.join(', ')]] });
      return;
    }
    switch (request.method) {
      case 'BYE':
        ua.reply(transaction, 200);
        this.#end();
        listener()?.onRemoteEnd('bye', request);
        return;
      case 'INFO': {
        const digit = digitOfInfo(request);
        if (digit) listener()?.onDigit(digit, 'ENDPOINT');
        ua.reply(transaction, 200);
        return;
      }
      case 'OPTIONS':
        ua.reply(transaction, 200);
        return;
      case 'INVITE':
      case 'UPDATE':
        this.#renegotiate(transaction, answered);
        return;
      default:
        ua.reply(transaction, 405);
    }
  }

  /** A re-INVITE or UPDATE: hold, resume, a moved far end, or only a session refresh. */
  #renegotiate(transaction: ServerTransaction, answered: boolean): void {
    const { ua, dialog, media, contact, listener } = this.#options;
    const { request } = transaction;
    const reinvite = request.method === 'INVITE';
    if (!answered || !media.rtp || this.#refresher.inviting) {
      ua.reply(transaction, reinvite ? 491 : 500, { headers: [['Retry-After', '1']] });
      return;
    }
    if (asksTooShort(request)) {
      ua.reply(transaction, 422, { headers: [['Min-SE', String(MIN_SESSION_EXPIRES)]] });
      return;
    }
    let sdp: string | undefined;
    const offer = request.body.length === 0;
    if (!offer) {
      sdp = media.answer(request.body);
      if (sdp === undefined) {
        ua.reply(transaction, 488);
        return;
      }
      listener()?.onMediaChanged();
    } else if (reinvite) sdp = media.offer();
    dialog.refreshTarget(request.headers);
    if (reinvite) this.accept(transaction, sdp ?? '', offer);
    else ua.reply(transaction, 200, { contact, sdp, headers: this.#sessionTimer(request) });
  }

  /**
   * Takes the session timer that a request asks for, and turns it off where it asks for none.
   * @returns the headers that say so
   */
  #sessionTimer(request: SipRequest): [string, string][] {
    const timer = answeredTimer(request, this.#timer.ours);
    this.#timer.start(timer && { seconds: timer.seconds, ours: timer.refresher === 'uas' });
    if (!timer) return [];
    const expires: [string, string] = ['Session-Expires', `${timer.seconds};refresher=${timer.refresher}`];
    return supportsTimer(request.headers) ? [['Require', 'timer'], expires] : [expires];
  }

  #refreshed(response: SipResponse): void {
    if (this.#over) return;
    this.answered(response.headers);
    if (response.body.length > 0 && this.#options.media.accept(response.body))
      this.#options.listener()?.onMediaChanged();
  }

  #sendBye(): void {
    const { ua, dialog } = this.#options;
    if (this.#over) return;
    const { request, peer } = dialog.makeRequest('BYE');
    request.headers.add('User-Agent', 'MiniVoice');
    this.#end();
    ua.transactions.request(
      request,
      peer,
      () => {},
      () => {},
    );
  }

  #end(): void {
    this.#over = true;
    this.close();
    this.#options.onOver();
  }

  #tellEnd(how: RemoteEnd): void {
    this.#options.listener()?.onRemoteEnd(how);
  }
}
