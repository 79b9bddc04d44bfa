import { writeMessage, Headers, type SipRequest, type SipResponse } from './message.ts';
import { Retransmission, type SipTimers } from './timers.ts';
import type { Peer, SipTransport } from './transport.ts';

export interface InviteTransactionOptions {
  transport: SipTransport;
  timers: SipTimers;
  request: SipRequest;
  peer: Peer;
  /**
   * Every provisional response, the first refusal, and every 2xx: each of those wants an ACK, which is the
   * dialog's to send.
   */
  onResponse: (response: SipResponse) => void;
  /** No response at all within 64*T1 (timer B), or none to our CANCEL. */
  onTimeout: () => void;
  /** Sends our CANCEL. */
  cancel: () => void;
  /** The transaction is over and forgotten. */
  onEnd: () => void;
}

/**
 * An INVITE of ours (RFC 3261 section 17.1.1, RFC 6026): repeated over UDP until anything comes, its refusal
 * acknowledged.
 */
export class InviteTransaction {
  readonly #options: InviteTransactionOptions;
  readonly #retransmission: Retransmission;
  #state: 'calling' | 'proceeding' | 'completed' | 'accepted' | 'ended' = 'calling';
  #linger: NodeJS.Timeout | undefined;
  #ack: Buffer | undefined;
  #cancelled = false;

  constructor(options: InviteTransactionOptions) {
    this.#options = options;
    const { transport, timers, peer } = options;
    const bytes = writeMessage(options.request);
    const send = (): void => transport.send(bytes, peer);
    // Timer A has no upper limit but timer B.
    this.#retransmission = new Retransmission(
      timers,
      Infinity,
      peer.transport === 'udp' ? send : undefined,
      () => this.#timeout(),
    );
    send();
  }

  /** It has no final response yet. */
  get pending(): boolean {
    return this.#state === 'calling' || this.#state === 'proceeding';
  }

  received(response: SipResponse): void {
    const { onResponse, timers, peer, transport } = this.#options;
    if (response.status < 200) {
      if (!this.pending) return;
      const first = this.#state === 'calling';
      this.#state = 'proceeding';
      this.#retransmission.stop();
      if (first && this.#cancelled) this.#sendCancel();
      onResponse(response);
    } else if (response.status < 300) {
      if (this.#state === 'completed' || this.#state === 'ended') return;
      const first = this.#state !== 'accepted';
      this.#state = 'accepted';
      this.#retransmission.stop();
      // Timer M: the 2xx may come again, and from another end that a proxy has tried as well.
      if (first) this.#endAfter(64 * timers.t1);
      onResponse(response);
    } else if (this.#state === 'completed') {
      if (this.#ack) transport.send(this.#ack, peer);
    } else if (this.pending) {
      this.#state = 'completed';
      this.#retransmission.stop();
      this.#ack = writeMessage(this.#makeAck(response));
      transport.send(this.#ack, peer);
      // Timer D: over UDP the refusal may come again.
      this.#endAfter(peer.transport === 'udp' ? 64 * timers.t1 : 0);
      onResponse(response);
    }
  }

  /** Gives up what is not answered. Before any response the CANCEL waits for one (section 9.1). */
  cancel(): void {
    if (this.#cancelled || !this.pending) return;
    this.#cancelled = true;
    if (this.#state === 'proceeding') this.#sendCancel();
  }

  stop(): void {
    this.#state = 'ended';
    this.#retransmission.stop();
    clearTimeout(this.#linger);
  }

  #sendCancel(): void {
    this.#options.cancel();
    // Section 9.1: an old server may never answer the INVITE then.
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.#timeout(), 64 * this.#options.timers.t1);
  }

  #timeout(): void {
    if (!this.pending) return;
    this.stop();
    this.#options.onTimeout();
    this.#options.onEnd();
  }

  #endAfter(ms: number): void {
    clearTimeout(this.#linger);
    const end = (): void => {
      this.stop();
      this.#options.onEnd();
    };
    if (ms === 0) end();
    else this.#linger = setTimeout(end, ms);
  }

  /** The ACK of a refusal: part of the transaction, under the Via of its INVITE (section 17.1.1.3). */
  #makeAck(response: SipResponse): SipRequest {
    const { request } = this.#options;
    const headers = new Headers();
    headers.add('Via', request.headers.get('via') ?? '');
    for (const route of request.headers.all('route')) headers.add('Route', route);
    headers
      .add('Max-Forwards', '70')
      .add('From', request.headers.get('from') ?? '')
      .add('To', response.headers.get('to') ?? '');
    headers.add('Call-ID', request.headers.get('call-id') ?? '');
    headers.add('CSeq', (request.headers.get('cseq') ?? '').replace('INVITE', 'ACK'));
    return { kind: 'request', method: 'ACK', uri: request.uri, headers, body: Buffer.alloc(0) };
  }
}
