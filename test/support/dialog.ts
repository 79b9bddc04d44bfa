import {
  header,
  headerValues,
  hostPortOf,
  tagOf,
  uriOf,
  type HeaderLine,
  type HostPort,
  type SipMessage,
} from '../../cli/phone/sip-message.ts';

/**
 * What a phone must know to send a request inside a call (RFC 3261 §12): names, numbers, and the way through
 * the proxies.
 */
export class Dialog {
  readonly callId: string;
  readonly localTag: string;
  remoteTag = '';
  /** Where the far end itself is: the request URI. */
  target = '';
  #local = '';
  #remote = '';
  #routes: string[] = [];
  #number = 0;
  #contact: string;

  constructor(callId: string, localTag: string, contact: string) {
    this.callId = callId;
    this.localTag = localTag;
    this.#contact = contact;
  }

  /** The calling side, before the INVITE. */
  call(from: string, to: string, uri: string): void {
    this.#local = `<${from}>;tag=${this.localTag}`;
    this.#remote = `<${to}>`;
    this.target = uri;
  }

  /** The calling side, when it is answered: the route set is the Record-Route backwards. */
  answeredBy(response: SipMessage): void {
    this.#remote = header(response, 'to') ?? this.#remote;
    this.remoteTag = tagOf(this.#remote);
    this.#routes = headerValues(response, 'record-route').reverse();
    this.refresh(response);
  }

  /** The called side: the route set is the Record-Route as it stands. */
  calledBy(invite: SipMessage): void {
    this.#local = `${header(invite, 'to') ?? ''};tag=${this.localTag}`;
    this.#remote = header(invite, 'from') ?? '';
    this.remoteTag = tagOf(this.#remote);
    this.#routes = headerValues(invite, 'record-route');
    this.refresh(invite);
  }

  /** A new Contact moves the far end (RFC 3261 §12.2.1.2). */
  refresh(message: SipMessage): void {
    const contact = headerValues(message, 'contact')[0];
    if (contact) this.target = uriOf(contact);
  }

  /** The headers of the next request; an ACK has the number of the INVITE it belongs to. */
  headers(method: string, ackOf?: SipMessage): HeaderLine[] {
    if (!ackOf) this.#number++;
    const number = ackOf ? (header(ackOf, 'cseq')?.split(' ')[0] ?? '') : String(this.#number);
    return [
      ...this.#routes.map((route): HeaderLine => ['Route', route]),
      ['Max-Forwards', '70'],
      ['From', this.#local],
      ['To', this.#remote],
      ['Call-ID', this.callId],
      ['CSeq', `${number} ${method}`],
      ['Contact', this.#contact],
      ['User-Agent', 'test phone'],
    ];
  }

  /** Where requests are sent. Loose routing only: every proxy of this century has `lr`. */
  get hop(): HostPort {
    return hostPortOf(uriOf(this.#routes[0] ?? this.target));
  }
}
