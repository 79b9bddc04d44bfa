import { parseCSeq, parseNameAddr, parseUri } from './fields.ts';
import { Headers, type SipRequest, type SipResponse } from './message.ts';
import type { Peer } from './transport.ts';

/** Our end of a dialog (RFC 3261 section 12), as far as requests within it need it. */
export class Dialog {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  /** Full From and To values of requests of ours, tags included. */
  readonly #local: string;
  readonly #remote: string;
  readonly #routes: readonly string[];
  #target: string;
  #localSeq: number;
  #remoteSeq: number;
  readonly #peer: Peer;

  private constructor(parts: {
    callId: string;
    local: string;
    localTag: string;
    remote: string;
    routes: readonly string[];
    target: string;
    localSeq: number;
    remoteSeq: number;
    peer: Peer;
  }) {
    this.callId = parts.callId;
    this.localTag = parts.localTag;
    this.remoteTag = parseNameAddr(parts.remote)?.params.tag ?? '';
    this.#local = parts.local;
    this.#remote = parts.remote;
    this.#routes = parts.routes;
    this.#target = parts.target;
    this.#localSeq = parts.localSeq;
    this.#remoteSeq = parts.remoteSeq;
    this.#peer = parts.peer;
  }

  /** The callee's end, made from the INVITE that opens the dialog. */
  static called(invite: SipRequest, localTag: string, source: Peer): Dialog {
    const { headers } = invite;
    return new Dialog({
      callId: headers.get('call-id') ?? '',
      local: `${headers.get('to') ?? ''};tag=${localTag}`,
      localTag,
      remote: headers.get('from') ?? '',
      routes: headers.all('record-route'),
      target: parseNameAddr(headers.get('contact') ?? '')?.uri ?? '',
      localSeq: Math.floor(Math.random() * 100_000_000) + 1,
      remoteSeq: parseCSeq(headers.get('cseq'))?.number ?? 0,
      peer: source,
    });
  }

  /**
   * The caller's end, made from our INVITE and the response that opens the dialog: the route set is the
   * Record-Route backwards.
   */
  static calling(invite: SipRequest, response: SipResponse, peer: Peer): Dialog {
    const { headers } = invite;
    const local = headers.get('from') ?? '';
    return new Dialog({
      callId: headers.get('call-id') ?? '',
      local,
      localTag: parseNameAddr(local)?.params.tag ?? '',
      remote: response.headers.get('to') ?? '',
      routes: response.headers.all('record-route').reverse(),
      target: parseNameAddr(response.headers.get('contact') ?? '')?.uri ?? invite.uri,
      localSeq: parseCSeq(headers.get('cseq'))?.number ?? 0,
      remoteSeq: -1,
      peer,
    });
  }

  static key(callId: string, localTag: string, remoteTag: string): string {
    return `${callId}|${localTag}|${remoteTag}`;
  }

  get key(): string {
    return Dialog.key(this.callId, this.localTag, this.remoteTag);
  }

  /** False for a request whose CSeq is not above the last one: it comes out of order (section 12.2.2). */
  accepts(request: SipRequest): boolean {
    const number = parseCSeq(request.headers.get('cseq'))?.number ?? 0;
    if (number <= this.#remoteSeq) return false;
    this.#remoteSeq = number;
    return true;
  }

  /** A target refresh request, or the answer to one of ours, moves the far end's contact (section 12.2). */
  refreshTarget(headers: Headers): void {
    const uri = parseNameAddr(headers.get('contact') ?? '')?.uri;
    if (uri) this.#target = uri;
  }

  /** A request of ours within the dialog and the hop it goes to (section 12.2.1.1). */
  makeRequest(method: string): { request: SipRequest; peer: Peer } {
    return this.#make(method, ++this.#localSeq);
  }

  /** The ACK of a 2xx to an INVITE of ours: it has that INVITE's number (section 13.2.2.4). */
  makeAck(number: number): { request: SipRequest; peer: Peer } {
    return this.#make('ACK', number);
  }

  #make(method: string, number: number): { request: SipRequest; peer: Peer } {
    const headers = new Headers();
    const first = parseNameAddr(this.#routes[0] ?? '');
    const firstUri = first && parseUri(first.uri);
    let uri = this.#target;
    let routes = this.#routes;
    let hop = firstUri;
    if (first && firstUri && !('lr' in firstUri.params)) {
      // A strict router wants itself in the request line and the target as the last route.
      uri = first.uri;
      routes = [...this.#routes.slice(1), `<${this.#target}>`];
    }
    for (const route of routes) headers.add('Route', route);
    headers.add('Max-Forwards', '70').add('From', this.#local).add('To', this.#remote);
    headers.add('Call-ID', this.callId).add('CSeq', `${number} ${method}`);
    hop ??= parseUri(this.#target);
    return {
      request: { kind: 'request', method, uri, headers, body: Buffer.alloc(0) },
      peer: this.#peerOf(hop),
    };
  }

  #peerOf(hop: ReturnType<typeof parseUri>): Peer {
    const source = this.#peer;
    if (!hop) return source;
    const transport = hop.params.transport?.toLowerCase() === 'tcp' ? 'tcp' : 'udp';
    const peer: Peer = { transport, address: hop.params.maddr || hop.host, port: hop.port ?? 5060 };
    // The INVITE came over this very connection: it is still the way back.
    if (transport === 'tcp' && source.transport === 'tcp' && source.address === peer.address)
      peer.socket = source.socket;
    return peer;
  }
}
