import { writeMessage, type SipRequest, type SipResponse } from './message.ts';
import { Retransmission, type SipTimers } from './timers.ts';
import type { Peer, SipTransport } from './transport.ts';

export interface ClientTransactionOptions {
  transport: SipTransport;
  timers: SipTimers;
  request: SipRequest;
  peer: Peer;
  onResponse: (response: SipResponse) => void;
  /** No final response within 64*T1 (timer F). */
  onTimeout: () => void;
  onEnd: () => void;
}

/** A non-INVITE request of ours (RFC 3261 section 17.1.2), repeated over UDP until its final response. */
export class ClientTransaction {
  readonly #options: ClientTransactionOptions;
  readonly #retransmission: Retransmission;
  #done = false;

  constructor(options: ClientTransactionOptions) {
    this.#options = options;
    const { transport, timers, peer } = options;
    const bytes = writeMessage(options.request);
    const send = (): void => transport.send(bytes, peer);
    this.#retransmission = new Retransmission(
      timers,
      timers.t2,
      peer.transport === 'udp' ? send : undefined,
      () => {
        if (this.#done) return;
        this.#done = true;
        options.onTimeout();
        options.onEnd();
      },
    );
    send();
  }

  get pending(): boolean {
    return !this.#done;
  }

  received(response: SipResponse): void {
    if (this.#done) return;
    if (response.status < 200) {
      this.#options.onResponse(response);
      return;
    }
    this.stop();
    this.#options.onResponse(response);
    this.#options.onEnd();
  }

  stop(): void {
    this.#done = true;
    this.#retransmission.stop();
  }
}
