import { createHash } from 'node:crypto';
import { Dialog } from '../../support/dialog.ts';
import { writeSdp } from '../../support/sdp.ts';
import { header, type HeaderLine, type HostPort, type SipMessage } from '../../../cli/phone/sip-message.ts';
import { random, Wire } from '../../support/wire.ts';

/** What a carrier does with an INVITE: the responses it sends, in order; none is silence. */
export type Script = (
  invite: SipMessage,
  number: number,
) => (string | [status: string, headers: HeaderLine[]])[];

export const REALM = 'carrier.example';

/**
 * A carrier that answers INVITEs by a script, checks credentials by itself, and keeps everything it was sent.
 */
export class SipCarrier {
  readonly wire: Wire;
  readonly invites: SipMessage[] = [];
  readonly requests: SipMessage[] = [];
  readonly dialogs: Dialog[] = [];
  /** Answers to requests that are no INVITE and no ACK; 200 unless a test says otherwise. */
  answerOther: (request: SipMessage) => string | [status: string, headers: HeaderLine[]] | undefined = () =>
    '200 OK';
  /** What it tells to be reached at. */
  contact: string;
  #script: Script = () => ['180 Ringing', '200 OK'];
  #from: HostPort | undefined;

  private constructor(wire: Wire) {
    this.wire = wire;
    this.contact = wire.contact('carrier');
    wire.onRequest = (request, from) => this.#handle(request, from);
  }

  static async open(
    address: string,
    options: { port?: number; transport?: 'udp' | 'tcp' } = {},
  ): Promise<SipCarrier> {
    return new SipCarrier(await Wire.open(address, options.port ?? 0, options.transport ?? 'udp'));
  }

  script(script: Script): void {
    this.#script = script;
  }

  /** A URI of a number behind this carrier. */
  uri(number = '+4930111'): string {
    return `sip:${number}@${this.wire.address}:${this.wire.port}${this.wire.transport === 'tcp' ? ';transport=tcp' : ''}`;
  }

  /** Where this carrier is, as a trunk has it. */
  get at(): string {
    return `${this.wire.address}:${this.wire.port}`;
  }

  /** What was sent for a method, in order. */
  got(method: string): SipMessage[] {
    return this.requests.filter((request) => request.method === method);
  }

  /** Resolves with the n-th request of a method. */
  async request(method: string, n = 0): Promise<SipMessage> {
    return this.wire.until(
      () => this.got(method)[n],
      `${method} number ${n}; there are ${this.requests.map((request) => request.method).join(' ')}`,
    );
  }

  /** Sends another response to an INVITE, at any time. */
  respond(invite: SipMessage, status: string, headers: HeaderLine[] = [], tag?: string): void {
    const answer = status.startsWith('200') || status.startsWith('183');
    this.wire.respond(
      invite,
      this.#from ?? { host: '', port: 0 },
      status,
      [
        ['Contact', this.contact],
        ...headers,
        ...(answer ? [['Content-Type', 'application/sdp'] as HeaderLine] : []),
      ],
      answer ? sdp(this.wire.address) : '',
      tag ?? this.#dialogOf(invite).localTag,
    );
  }

  /** A BYE of ours in the dialog; resolves with the code of its answer. */
  async bye(callId: string): Promise<number> {
    const dialog = this.dialogs.find((known) => known.callId === callId);
    if (!dialog) throw new Error('nobody has called');
    let code = 0;
    this.wire.request(`BYE ${dialog.target} SIP/2.0`, dialog.headers('BYE'), '', dialog.hop, (response) => {
      if ((response.code ?? 0) >= 200) code = response.code ?? 0;
    });
    return this.wire.until(() => code || undefined, 'an answer to BYE');
  }

  async close(): Promise<void> {
    await this.wire.close();
  }

  #dialogOf(invite: SipMessage): Dialog {
    const callId = header(invite, 'call-id') ?? '';
    const known = this.dialogs.find((dialog) => dialog.callId === callId);
    const dialog = known ?? new Dialog(callId, random(), this.contact);
    if (!known) this.dialogs.push(dialog);
    return dialog;
  }

  #handle(request: SipMessage, from: HostPort): void {
    this.#from = from;
    this.requests.push(request);
    if (request.method === 'ACK') return;
    if (request.method !== 'INVITE') {
      const answer = this.answerOther(request);
      if (answer === undefined) return;
      const [status, headers] = typeof answer === 'string' ? [answer, []] : answer;
      this.wire.respond(request, from, status, headers, '', random());
      return;
    }
    this.invites.push(request);
    this.#dialogOf(request).calledBy(request);
    for (const answer of this.#script(request, this.invites.length)) {
      if (typeof answer === 'string') this.respond(request, answer);
      else this.respond(request, ...answer);
    }
  }
}

/** Challenges with the code, and answers who has the password by `then`. */
export function guarded(
  code: 401 | 407,
  user: string,
  password: string,
  then: Script = () => ['180 Ringing', '200 OK'],
): Script {
  const [challenge, credentials] =
    code === 401 ? ['WWW-Authenticate', 'authorization'] : ['Proxy-Authenticate', 'proxy-authorization'];
  const nonce = random(16);
  const refusal: [string, HeaderLine[]] = [
    `${code} Who Are You`,
    [[challenge, `Digest realm="${REALM}", nonce="${nonce}", qop="auth", algorithm=MD5`]],
  ];
  return (invite, number) => {
    const given = header(invite, credentials);
    if (given === undefined) return [refusal];
    return isRight(given, invite.method ?? '', user, password, nonce)
      ? then(invite, number)
      : [['403 Wrong Password', []]];
  };
}

/** RFC 7616 with MD5, computed here and not by what is tested. */
export function isRight(
  credentials: string,
  method: string,
  user: string,
  password: string,
  nonce: string,
): boolean {
  const value = (name: string): string => new RegExp(`[ ,]${name}="?([^",]*)"?`).exec(credentials)?.[1] ?? '';
  if (value('username') !== user || value('nonce') !== nonce) return false;
  const ha1 = md5(`${user}:${value('realm')}:${password}`);
  const ha2 = md5(`${method}:${value('uri')}`);
  return value('response') === md5([ha1, nonce, value('nc'), value('cnonce'), value('qop'), ha2].join(':'));
}

export const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

const sdp = (address: string): string =>
  writeSdp(
    { host: address, port: 40000 },
    { codecs: ['PCMU'], eventType: 101, direction: 'sendrecv', session: 7, version: 1 },
  );
