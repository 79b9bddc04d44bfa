import { causeToSip, reasonHeader } from '../causes.ts';
import type { FrameClock } from '../rtp/clock.ts';
import type { PortRange } from '../rtp/ports.ts';
import { RtpSession } from '../rtp/session.ts';
import { Dialog } from '../sip/dialog.ts';
import { parseCSeq } from '../sip/fields.ts';
import { digitOfInfo } from '../sip/info-dtmf.ts';
import type { SipRequest } from '../sip/message.ts';
import { answerSdp, chooseAudio, offerSdp, parseSdp, type SdpOrigin } from '../sip/sdp.ts';
import type { ServerTransaction } from '../sip/server-transaction.ts';
import type { CallLeg, UserAgent } from '../sip/user-agent.ts';
import { NoCommonCodec, type Farewell, type Leg, type LegListener } from './leg.ts';

/** What the leg needs of the node for its audio. */
export interface MediaResources {
  ip: string;
  ports: PortRange;
  clock: FrameClock;
}

const MIN_SESSION_EXPIRES = 90;

/** The SIP and RTP of a call that came in: one dialog, one audio stream. */
export class InboundLeg implements CallLeg, Leg {
  readonly dialog: Dialog;
  readonly invite: ServerTransaction;
  readonly #ua: UserAgent;
  readonly #resources: MediaResources;
  readonly #contact: string;
  readonly #origin: SdpOrigin;
  #listener: LegListener | undefined;
  #state: 'early' | 'answered' | 'ended' = 'early';
  #acked = false;
  /** A BYE that waits for the ACK (RFC 3261 section 15.1.1 forbids it before). */
  #byeWaits = false;
  #rtp: RtpSession | undefined;
  #localSdp = '';
  /** The INVITE or re-INVITE that has our offer and owes us the answer in its ACK. */
  #offered: ServerTransaction | undefined;
  #settleMedia: () => void = () => {};
  /** Settles when the audio is agreed on, or never will be: with the offer in our 200, the ACK brings the answer. */
  readonly mediaSettled: Promise<void> = new Promise((resolve) => (this.#settleMedia = resolve));
  #lastInvite: ServerTransaction;
  #expiry: NodeJS.Timeout | undefined;

  constructor(invite: ServerTransaction, ua: UserAgent, resources: MediaResources) {
    this.invite = invite;
    this.#lastInvite = invite;
    this.#ua = ua;
    this.#resources = resources;
    this.dialog = new Dialog(invite.request, ua.newTag(), invite.source);
    this.#contact = ua.contactFor(invite.request, invite.source.transport);
    const id = Math.floor(Date.now() / 1000);
    this.#origin = { id, version: id, address: resources.ip };
    ua.add(this);
  }

  listen(listener: LegListener): void {
    this.#listener = listener;
  }

  get rtp(): RtpSession | undefined {
    return this.#rtp;
  }

  get localSdp(): string {
    return this.#localSdp;
  }

  trying(): void {
    this.#ua.reply(this.invite, 100);
  }

  ringing(): void {
    this.#reply(180);
  }

  /**
   * 183 with our answer: early media.
   * @throws NoCommonCodec
   */
  async progress(): Promise<void> {
    const sdp = await this.#openMedia(this.invite);
    if (this.#state === 'early') this.#reply(183, sdp);
  }

  /**
   * 200 OK, repeated until its ACK.
   * @throws NoCommonCodec, or Error without a free RTP port
   */
  async answer(): Promise<void> {
    const sdp = await this.#openMedia(this.invite);
    if (this.#state !== 'early') return;
    this.#state = 'answered';
    this.#accept(this.invite, sdp);
    this.#ua.settled(this);
  }

  /** Ends the answered call, once its ACK is in, and refuses one that is not answered yet. */
  end({ cause, status, reason }: Farewell): string {
    if (this.#state === 'early') {
      const headers: [string, string][] = [['Reason', reasonHeader(cause)]];
      this.#ua.reply(this.invite, status ?? causeToSip(cause), { toTag: this.dialog.localTag, reason: reason || undefined, headers });
      this.#end();
      return 'send_refuse';
    }
    if (this.#state === 'answered') {
      this.#closeMedia();
      if (this.#acked) this.#sendBye();
      else this.#byeWaits = true;
    }
    return 'send_bye';
  }

  /** Lets go of the audio: the call is over and only the farewell is left. */
  #closeMedia(): void {
    clearTimeout(this.#expiry);
    this.#rtp?.close();
    this.#settleMedia();
  }

  #sendBye(): void {
    const { request, peer } = this.dialog.makeRequest('BYE');
    request.headers.add('User-Agent', 'MiniVoice');
    this.#end();
    this.#ua.transactions.request(request, peer, () => {}, () => {});
  }

  #end(): void {
    this.#state = 'ended';
    this.#closeMedia();
    this.#ua.remove(this);
  }

  onCancel(cancel: SipRequest): void {
    if (this.#state !== 'early') return;
    this.#ua.reply(this.invite, 487, { toTag: this.dialog.localTag });
    this.#end();
    this.#listener?.onRemoteEnd('cancel', cancel);
  }

  onAck(request: SipRequest): void {
    if (parseCSeq(request.headers.get('cseq'))?.number !== parseCSeq(this.#lastInvite.request.headers.get('cseq'))?.number) return;
    this.#lastInvite.acknowledged();
    if (this.#acked && this.#offered !== this.#lastInvite) return;
    this.#acked = true;
    if (this.#byeWaits) {
      this.#sendBye();
      return;
    }
    if (this.#offered === this.#lastInvite) {
      this.#offered = undefined;
      const answer = parseSdp(request.body.toString('latin1'));
      const chosen = answer && chooseAudio(answer);
      if (chosen) {
        this.#rtp?.agree(chosen.agreement);
        this.#listener?.onMediaChanged();
      } else this.#listener?.onRemoteEnd('no-codec');
      this.#settleMedia();
    }
  }

  onRequest(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (!this.dialog.accepts(request)) {
      this.#ua.reply(transaction, 500, { headers: [['Retry-After', '1']] });
      return;
    }
    switch (request.method) {
      case 'BYE':
        this.#ua.reply(transaction, 200);
        if (this.#state === 'early') this.#ua.reply(this.invite, 487, { toTag: this.dialog.localTag });
        this.#end();
        this.#listener?.onRemoteEnd('bye', request);
        return;
      case 'INFO': {
        const digit = digitOfInfo(request);
        if (digit) this.#listener?.onDigit(digit, 'ENDPOINT');
        this.#ua.reply(transaction, 200);
        return;
      }
      case 'OPTIONS':
        this.#ua.reply(transaction, 200);
        return;
      case 'INVITE':
      case 'UPDATE':
        this.#renegotiate(transaction);
        return;
      default:
        this.#ua.reply(transaction, 405);
    }
  }

  /** A re-INVITE or UPDATE: hold, resume, a moved far end, or only a session refresh. */
  #renegotiate(transaction: ServerTransaction): void {
    const { request } = transaction;
    const reinvite = request.method === 'INVITE';
    if (this.#state !== 'answered' || !this.#rtp) {
      this.#ua.reply(transaction, reinvite ? 491 : 500, { headers: [['Retry-After', '1']] });
      return;
    }
    let sdp = '';
    if (request.body.length > 0) {
      const offer = parseSdp(request.body.toString('latin1'));
      const chosen = offer && chooseAudio(offer);
      if (!offer || !chosen) {
        this.#ua.reply(transaction, 488);
        return;
      }
      this.#rtp.agree(chosen.agreement);
      this.#origin.version++;
      sdp = this.#localSdp = answerSdp(offer, chosen, this.#origin, this.#rtp.port);
      this.#listener?.onMediaChanged();
    } else if (reinvite) {
      this.#origin.version++;
      sdp = this.#localSdp = offerSdp(this.#origin, this.#rtp.port);
      this.#offered = transaction;
    }
    this.dialog.refreshTarget(request);
    if (reinvite) {
      this.#lastInvite = transaction;
      this.#accept(transaction, sdp);
    } else {
      this.#ua.reply(transaction, 200, { contact: this.#contact, sdp: sdp || undefined, headers: this.#sessionTimer(request) });
    }
  }

  #accept(transaction: ServerTransaction, sdp: string): void {
    transaction.onUnacknowledged = () => {
      // Nobody confirmed: the far end may be gone, but is told (section 13.3.1.4).
      this.#acked = true;
      if (this.#byeWaits) this.#sendBye();
      else this.#listener?.onRemoteEnd('no-ack');
    };
    this.#ua.reply(transaction, 200, { toTag: this.dialog.localTag, contact: this.#contact, sdp, headers: this.#sessionTimer(transaction.request) });
  }

  /** RFC 4028: who offers a session timer refreshes it, and a session not refreshed in time is over. */
  #sessionTimer(request: SipRequest): [string, string][] {
    const value = request.headers.get('session-expires');
    if (value === undefined || !/(^|[\s,])timer([\s,]|$)/i.test(request.headers.all('supported').join(','))) return [];
    const seconds = Math.max(MIN_SESSION_EXPIRES, parseInt(value, 10) || 1800);
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#listener?.onRemoteEnd('expired'), seconds * 1000);
    this.#expiry.unref();
    return [['Require', 'timer'], ['Session-Expires', `${seconds};refresher=uac`]];
  }

  #reply(status: number, sdp?: string): void {
    this.#ua.reply(this.invite, status, { toTag: this.dialog.localTag, contact: this.#contact, sdp });
  }

  /** Opens the audio and says with which description: our answer, or our offer where the INVITE has none. */
  async #openMedia(invite: ServerTransaction): Promise<string> {
    if (this.#rtp) return this.#localSdp;
    const { body } = invite.request;
    const offer = body.length > 0 ? parseSdp(body.toString('latin1')) : undefined;
    const chosen = offer && chooseAudio(offer);
    if (body.length > 0 && !chosen) throw new NoCommonCodec();
    const { ip, ports, clock } = this.#resources;
    const rtp = await RtpSession.open(ip, ports, clock, (digit) => this.#listener?.onDigit(digit, 'RTP'));
    if (this.#state === 'ended' || this.#rtp) {
      rtp.close();
      return this.#localSdp;
    }
    this.#rtp = rtp;
    if (offer && chosen) {
      this.#localSdp = answerSdp(offer, chosen, this.#origin, rtp.port);
      rtp.agree(chosen.agreement);
      this.#settleMedia();
    } else {
      this.#localSdp = offerSdp(this.#origin, rtp.port);
      this.#offered = invite;
    }
    return this.#localSdp;
  }
}
