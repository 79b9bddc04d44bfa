import { parseCSeq, parseNameAddr, parseUri } from './fields.ts';
import { Headers, type SipRequest } from './message.ts';
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
  readonly #inviteSource: Peer;

  /** The callee's end, made from the INVITE that opens the dialog. */
  constructor(invite: SipRequest, localTag: string, source: Peer) {
    const { headers } = invite;
    this.callId = headers.get('call-id') ?? '';
    this.localTag = localTag;
    this.remoteTag = parseNameAddr(headers.get('from') ?? '')?.params.tag ?? '';
    this.#local = `${headers.get('to') ?? ''};tag=${localTag}`;
    this.#remote = headers.get('from') ?? '';
    this.#routes = headers.all('record-route');
    this.#target = parseNameAddr(headers.get('contact') ?? '')?.uri ?? '';
    this.#remoteSeq = parseCSeq(headers.get('cseq'))?.number ?? 0;
    this.#localSeq = Math.floor(Math.random() * 100_000_000) + 1;
    this.#inviteSource = source;
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

  /** A target refresh request moves the far end's contact (section 12.2.2). */
  refreshTarget(request: SipRequest): void {
    const uri = parseNameAddr(request.headers.get('contact') ?? '')?.uri;
    if (uri) this.#target = uri;
  }

  /** A request of ours within the dialog and the hop it goes to (section 12.2.1.1). */
  makeRequest(method: string): { request: SipRequest; peer: Peer } {
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
    headers.add('Call-ID', this.callId).add('CSeq', `${++this.#localSeq} ${method}`);
    hop ??= parseUri(this.#target);
    return { request: { kind: 'request', method, uri, headers, body: Buffer.alloc(0) }, peer: this.#peerOf(hop) };
  }

  #peerOf(hop: ReturnType<typeof parseUri>): Peer {
    const source = this.#inviteSource;
    if (!hop) return source;
    const transport = hop.params.transport?.toLowerCase() === 'tcp' ? 'tcp' : 'udp';
    const peer: Peer = { transport, address: hop.params.maddr || hop.host, port: hop.port ?? 5060 };
    // The INVITE came over this very connection: it is still the way back.
    if (transport === 'tcp' && source.transport === 'tcp' && source.address === peer.address) peer.socket = source.socket;
    return peer;
  }
}
