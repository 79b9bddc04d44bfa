import { writeMessage, type SipRequest, type SipResponse } from './message.ts';
import { Retransmission, type SipTimers } from './timers.ts';
import type { Peer, SipTransport } from './transport.ts';

export interface ServerTransactionOwner {
  readonly transport: SipTransport;
  readonly timers: SipTimers;
  /** The transaction is over and forgets its request. */
  ended(transaction: ServerTransaction): void;
}

/**
 * One request from outside and our answer to it (RFC 3261 section 17.2, RFC 6026). Retransmissions of the
 * request are absorbed here; final answers to INVITE are repeated until their ACK.
 */
export class ServerTransaction {
  readonly key: string;
  readonly request: SipRequest;
  /** Where the request came from. */
  readonly source: Peer;
  readonly #owner: ServerTransactionOwner;
  readonly #replyTo: Peer;
  #state: 'proceeding' | 'completed' | 'accepted' | 'confirmed' | 'ended' = 'proceeding';
  #last: Buffer | undefined;
  #retransmission: Retransmission | undefined;
  #linger: NodeJS.Timeout | undefined;
  /** Status of the final answer, once one was given. */
  finalStatus: number | undefined;
  /** Called when a 2xx to INVITE was never acknowledged (section 13.3.1.4). */
  onUnacknowledged: () => void = () => {};

  constructor(key: string, request: SipRequest, source: Peer, replyTo: Peer, owner: ServerTransactionOwner) {
    this.key = key;
    this.request = request;
    this.source = source;
    this.#replyTo = replyTo;
    this.#owner = owner;
  }

  get isInvite(): boolean {
    return this.request.method === 'INVITE';
  }

  get answered(): boolean {
    return this.finalStatus !== undefined;
  }

  /** Sends a response. After the first final one further responses are ignored. */
  respond(response: SipResponse): void {
    if (this.answered) return;
    this.#last = writeMessage(response);
    this.#owner.transport.send(this.#last, this.#replyTo);
    if (response.status < 200) return;
    this.finalStatus = response.status;
    const { timers } = this.#owner;
    const udp = this.#replyTo.transport === 'udp';
    if (!this.isInvite) {
      this.#state = 'completed';
      this.#endAfter(udp ? 64 * timers.t1 : 0);
    } else if (response.status < 300) {
      this.#state = 'accepted';
      // A 2xx is repeated over TCP too: it travels end to end, and a hop behind may be UDP.
      this.#retransmission = new Retransmission(timers, timers.t2, this.#resend, () => {
        this.#end();
        this.onUnacknowledged();
      });
    } else {
      this.#state = 'completed';
      this.#retransmission = new Retransmission(timers, timers.t2, udp ? this.#resend : undefined, () =>
        this.#end(),
      );
    }
  }

  /** The same request again. */
  retransmitted(): void {
    if (this.#state !== 'confirmed') this.#resend();
  }

  /** The ACK for our final answer. */
  acknowledged(): void {
    if (this.#state !== 'completed' && this.#state !== 'accepted') return;
    const { timers } = this.#owner;
    this.#retransmission?.stop();
    const accepted = this.#state === 'accepted';
    this.#state = 'confirmed';
    // A late copy of the INVITE must still find its transaction (RFC 6026 timer L), a late ACK must not
    // surprise anyone (timer I).
    this.#endAfter(accepted ? 64 * timers.t1 : timers.t4);
  }

  readonly #resend = (): void => {
    if (this.#last) this.#owner.transport.send(this.#last, this.#replyTo);
  };

  #endAfter(ms: number): void {
    clearTimeout(this.#linger);
    if (ms === 0) this.#end();
    else {
      this.#linger = setTimeout(() => this.#end(), ms);
      this.#linger.unref();
    }
  }

  #end(): void {
    if (this.#state === 'ended') return;
    this.stop();
    this.#owner.ended(this);
  }

  /** Stops all timers at once: the program is leaving. */
  stop(): void {
    this.#state = 'ended';
    this.#retransmission?.stop();
    clearTimeout(this.#linger);
  }
}
