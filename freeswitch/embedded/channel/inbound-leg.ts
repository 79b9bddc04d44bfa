import { causeToSip } from '../causes.ts';
import type { RtpSession } from '../rtp/session.ts';
import { Dialog } from '../sip/dialog.ts';
import type { SipRequest } from '../sip/message.ts';
import { chooseAudio, parseSdp } from '../sip/sdp.ts';
import type { ServerTransaction } from '../sip/server-transaction.ts';
import type { CalledLeg, UserAgent } from '../sip/user-agent.ts';
import { Established } from './established.ts';
import { NoCommonCodec, type Farewell, type Leg, type LegListener } from './leg.ts';
import { LegMedia, type MediaResources } from './leg-media.ts';

/** The SIP and RTP of a call that came in: one dialog, one audio stream. */
export class InboundLeg implements CalledLeg, Leg {
  readonly dialog: Dialog;
  readonly invite: ServerTransaction;
  readonly #ua: UserAgent;
  readonly #contact: string;
  readonly #media: LegMedia;
  readonly #established: Established;
  #listener: LegListener | undefined;
  #state: 'early' | 'answered' | 'ended' = 'early';

  constructor(invite: ServerTransaction, ua: UserAgent, resources: MediaResources) {
    this.invite = invite;
    this.#ua = ua;
    this.dialog = Dialog.called(invite.request, ua.newTag(), invite.source);
    this.#contact = ua.contactFor(invite.request, invite.source.transport);
    this.#media = new LegMedia(resources, (digit) => this.#listener?.onDigit(digit, 'RTP'));
    this.#established = new Established({
      ua,
      dialog: this.dialog,
      media: this.#media,
      contact: this.#contact,
      peer: invite.request.headers,
      listener: () => this.#listener,
      onOver: () => this.#end(),
    });
    ua.add(this);
    ua.pending(this);
  }

  listen(listener: LegListener): void {
    this.#listener = listener;
  }

  get rtp(): RtpSession | undefined {
    return this.#media.rtp;
  }

  get localSdp(): string {
    return this.#media.localSdp;
  }

  get mediaSettled(): Promise<void> {
    return this.#media.settled;
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
    const sdp = await this.#openMedia();
    if (this.#state === 'early') this.#reply(183, sdp);
  }

  /**
   * 200 OK, repeated until its ACK.
   * @throws NoCommonCodec, or Error without a free RTP port
   */
  async answer(): Promise<void> {
    const sdp = await this.#openMedia();
    if (this.#state !== 'early') return;
    this.#state = 'answered';
    this.#established.accept(this.invite, sdp, this.invite.request.body.length === 0);
    this.#ua.settled(this);
  }

  /** Ends the answered call, once its ACK is in, and refuses one that is not answered yet. */
  end({ cause, status, reason }: Farewell): string {
    if (this.#state === 'early') {
      // Without a Reason header: its text would be FreeSWITCH's own vocabulary, and the configuration keeps
      // it in.
      this.#ua.reply(this.invite, status ?? causeToSip(cause), {
        toTag: this.dialog.localTag,
        reason: reason || undefined,
      });
      this.#end();
      return 'send_refuse';
    }
    if (this.#state === 'answered') this.#established.bye();
    return 'send_bye';
  }

  renegotiate(): boolean {
    return this.#state === 'answered' && this.#established.renegotiate();
  }

  #end(): void {
    this.#state = 'ended';
    this.#media.close();
    this.#ua.settled(this);
    this.#ua.remove(this);
  }

  onCancel(cancel: SipRequest): void {
    if (this.#state !== 'early') return;
    this.#ua.reply(this.invite, 487, { toTag: this.dialog.localTag });
    this.#end();
    this.#listener?.onRemoteEnd('cancel', cancel);
  }

  onAck(request: SipRequest): void {
    this.#established.onAck(request);
  }

  onRequest(transaction: ServerTransaction): void {
    const early = this.#state === 'early';
    this.#established.onRequest(transaction, this.#state === 'answered');
    // A BYE has ended what was not answered: its INVITE still wants its answer.
    if (early && this.#ended) this.#ua.reply(this.invite, 487, { toTag: this.dialog.localTag });
  }

  get #ended(): boolean {
    return this.#state === 'ended';
  }

  #reply(status: number, sdp?: string): void {
    this.#ua.reply(this.invite, status, { toTag: this.dialog.localTag, contact: this.#contact, sdp });
  }

  /** Opens the audio and says with which description: our answer, or our offer where the INVITE has none. */
  async #openMedia(): Promise<string> {
    if (this.#media.localSdp) return this.#media.localSdp;
    const { body } = this.invite.request;
    const offer = body.length > 0 ? parseSdp(body.toString('latin1')) : undefined;
    if (body.length > 0 && !(offer && chooseAudio(offer))) throw new NoCommonCodec();
    await this.#media.open();
    if (this.#state === 'ended' || this.#media.localSdp) return this.#media.localSdp;
    return body.length > 0 ? (this.#media.answer(body) ?? '') : this.#media.offer();
  }
}
