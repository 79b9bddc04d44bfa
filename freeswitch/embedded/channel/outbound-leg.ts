import { randomUUID } from 'node:crypto';
import type { RtpSession } from '../rtp/session.ts';
import { Dialog } from '../sip/dialog.ts';
import { parseCSeq, parseNameAddr } from '../sip/fields.ts';
import type { InviteTransaction } from '../sip/invite-transaction.ts';
import { Headers, type SipRequest, type SipResponse } from '../sip/message.ts';
import type { Codec } from '../sip/sdp.ts';
import type { ServerTransaction } from '../sip/server-transaction.ts';
import type { Peer } from '../sip/transport.ts';
import { ALLOW, type CallLeg, type UserAgent } from '../sip/user-agent.ts';
import { Established } from './established.ts';
import type { Farewell, Leg, LegListener } from './leg.ts';
import { LegMedia, type MediaResources } from './leg-media.ts';

/** Whom to call, and as whom. */
export interface Destination {
  /** Request URI. */
  uri: string;
  peer: Peer;
  from: { name: string; number: string };
  /** Further header fields of the INVITE. */
  headers: readonly (readonly [string, string])[];
  /** The codec to offer first. */
  prefer: Codec;
}

export interface CallingListener extends LegListener {
  /** Any response but 100, ahead of what is told of it. */
  onResponse(response: SipResponse): void;
  /** A provisional response; `early` when there is audio from now on. */
  onProgress(early: boolean): void;
  onAnswered(): void;
  /** The call was refused, or nobody has answered the INVITE at all (408). */
  onRefused(status: number, reason: string): void;
}

/** The SIP and RTP of a call this node places: one INVITE, and the dialog that comes of it. */
export class OutboundLeg implements CallLeg, Leg {
  readonly callId: string = randomUUID();
  readonly localTag: string;
  readonly destination: Destination;
  readonly #ua: UserAgent;
  readonly #media: LegMedia;
  #listener: CallingListener | undefined;
  #request: SipRequest | undefined;
  #transaction: InviteTransaction | undefined;
  #dialog: Dialog | undefined;
  #established: Established | undefined;
  #state: 'new' | 'calling' | 'answered' | 'ended' = 'new';
  /** Further answers by other ends, already told that they are too late. */
  readonly #late = new Set<string>();
  remoteTag = '';

  constructor(destination: Destination, ua: UserAgent, resources: MediaResources) {
    this.destination = destination;
    this.#ua = ua;
    this.localTag = ua.newTag();
    this.#media = new LegMedia(resources, (digit) => this.#listener?.onDigit(digit, 'RTP'));
  }

  listen(listener: CallingListener): void {
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

  /** Only asked for once there is one. */
  get dialog(): Dialog {
    if (!this.#dialog) throw new Error('no dialog yet');
    return this.#dialog;
  }

  get cseq(): number {
    return parseCSeq(this.#request?.headers.get('cseq'))?.number ?? 0;
  }

  /** Sends the INVITE. @throws Error without a free RTP port */
  async call(): Promise<void> {
    await this.#media.open();
    if (this.#state !== 'new' || !this.#media.rtp) return;
    this.#state = 'calling';
    const { peer } = this.destination;
    this.#request = this.#invite();
    this.#transaction = this.#ua.transactions.invite(
      this.#request,
      peer,
      (response) => this.#response(response),
      () => this.#refused(408, 'Request Timeout'),
    );
  }

  end(_farewell: Farewell): string {
    const before = this.#state;
    if (before === 'answered') {
      this.#established?.bye();
      return 'send_bye';
    }
    this.#state = 'ended';
    this.#media.close();
    // What answers nevertheless is told goodbye when it does.
    this.#transaction?.cancel();
    return 'send_cancel';
  }

  renegotiate(): boolean {
    return this.#state === 'answered' && this.#established?.renegotiate() === true;
  }

  onRequest(transaction: ServerTransaction): void {
    this.#established?.onRequest(transaction, this.#state === 'answered');
  }

  onAck(request: SipRequest): void {
    this.#established?.onAck(request);
  }

  #invite(): SipRequest {
    const { uri, from, headers } = this.destination;
    const { ip } = this.#ua.transactions.transport;
    const name = from.name.replace(/["\\\r\n]/g, '');
    // What is escaped already stays as it is.
    const user = from.number.replace(/%(?![\dA-Fa-f]{2})|[^\w+*.!~%-]/g, encodeURIComponent);
    const list = new Headers();
    list.add('Max-Forwards', '69');
    list.add('From', `"${name}" <sip:${user}@${ip}>;tag=${this.localTag}`).add('To', `<${uri}>`);
    list.add('Call-ID', this.callId).add('CSeq', `${Math.floor(Math.random() * 100_000_000) + 1} INVITE`);
    list
      .add('Contact', this.#contact)
      .add('User-Agent', 'MiniVoice')
      .add('Allow', ALLOW)
      .add('Supported', 'timer');
    list.add('Content-Type', 'application/sdp').add('Content-Disposition', 'session');
    for (const [header, value] of headers) list.add(header, value);
    return {
      kind: 'request',
      method: 'INVITE',
      uri,
      headers: list,
      body: Buffer.from(this.#media.offer(this.destination.prefer), 'latin1'),
    };
  }

  get #contact(): string {
    const { ip, port } = this.#ua.transactions.transport;
    return `<sip:minivoice@${ip}:${port}${this.destination.peer.transport === 'tcp' ? ';transport=tcp' : ''}>`;
  }

  #response(response: SipResponse): void {
    if (this.#state === 'calling' && response.status > 100) this.#listener?.onResponse(response);
    if (response.status >= 300) this.#refused(response.status, response.reason);
    else if (response.status >= 200) this.#accepted(response);
    else if (this.#state === 'calling' && response.status > 100) {
      const early = response.body.length > 0 && this.#media.accept(response.body);
      if (early) this.#listener?.onMediaChanged();
      this.#listener?.onProgress(early);
    }
  }

  /** A 200: the first makes the dialog, its repetitions are acknowledged again, another end's is ended. */
  #accepted(response: SipResponse): void {
    if (!this.#request) return;
    const tag = parseNameAddr(response.headers.get('to') ?? '')?.params.tag ?? '';
    const dialog =
      this.#dialog && tag === this.remoteTag
        ? this.#dialog
        : Dialog.calling(this.#request, response, this.destination.peer);
    const { request, peer } = dialog.makeAck(this.cseq);
    this.#ua.transactions.acknowledge(request, peer);
    if (dialog === this.#dialog) return;
    if (this.#state !== 'calling') {
      if (!this.#late.has(tag) && this.#late.size < 16) this.#sendBye(dialog);
      this.#late.add(tag);
      return;
    }
    this.#state = 'answered';
    this.#dialog = dialog;
    this.remoteTag = tag;
    this.#established = new Established({
      ua: this.#ua,
      dialog,
      media: this.#media,
      contact: this.#contact,
      peer: response.headers,
      listener: () => this.#listener,
      onOver: () => this.#over(),
    });
    this.#ua.add(this);
    const agreed = this.#media.rtp?.agreement !== undefined;
    if (response.body.length > 0 ? !this.#media.accept(response.body) : !agreed) {
      this.#listener?.onRemoteEnd('no-codec');
      return;
    }
    this.#established.answered(response.headers);
    this.#listener?.onMediaChanged();
    this.#listener?.onAnswered();
  }

  #sendBye(dialog: Dialog): void {
    const { request, peer } = dialog.makeRequest('BYE');
    this.#ua.transactions.request(
      request,
      peer,
      () => {},
      () => {},
    );
  }

  #refused(status: number, reason: string): void {
    if (this.#state !== 'calling') return;
    this.#state = 'ended';
    this.#media.close();
    this.#listener?.onRefused(status, reason);
  }

  #over(): void {
    this.#state = 'ended';
    this.#ua.remove(this);
  }
}
