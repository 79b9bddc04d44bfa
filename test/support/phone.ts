import { Call, replyOf, type Reply } from './call.ts';
import type { Codec } from '../../cli/phone/codec.ts';
import { RtpPort } from '../../cli/phone/rtp-port.ts';
import {
  header,
  tagOf,
  type HeaderLine,
  type HostPort,
  type SipMessage,
} from '../../cli/phone/sip-message.ts';
import { tone, type SoundSource } from '../../cli/phone/sound.ts';
import { random, Wire, type LoggedMessage } from './wire.ts';

export { Call, type CallEnd, type Reply } from './call.ts';

export interface CallOptions {
  /** E.164, any user part, or a whole `sip:`/`tel:` URI. */
  to: string;
  from: string;
  /** Where the INVITE is sent. */
  via: HostPort;
  codecs?: Codec[];
  /** False: no telephone events are offered. */
  events?: boolean;
  /** False: an INVITE without SDP; the ACK brings it. */
  offer?: boolean;
  /** What the phone says; silence if not given. */
  sound?: SoundSource;
  /** Sends no audio at all, and only listens. */
  quiet?: boolean;
  headers?: HeaderLine[];
  callId?: string;
  /** What it makes of its SDP before that is sent. */
  rewrite?: (sdp: string) => string;
  /** The From tag: two calls of a carrier that forks have the same. */
  tag?: string;
}

/**
 * What a called phone does: answer, ring for ever, refuse, wait for the test to say, or be deaf (no reply at
 * all).
 */
export type Manner =
  'answer' | 'ring' | 'manual' | 'deaf' | { refuse: number; reason?: string; headers?: HeaderLine[] };

/**
 * A telephone for tests, apart from all code that is tested: SIP over UDP or TCP on a loopback address of its
 * own, G.711 audio and RFC 4733 keys both ways.
 */
export class Phone {
  /** Calls that came in, in order. */
  readonly received: Call[] = [];
  readonly #wire: Wire;
  readonly #calls = new Map<string, Call>();
  #manner: Manner = { refuse: 480, reason: 'Not Listening' };
  #sound: (() => SoundSource) | undefined;
  #quiet = false;
  #rewrite: ((sdp: string) => string) | undefined;
  #codecs: Codec[] = ['PCMU', 'PCMA'];
  #taken = 0;

  private constructor(wire: Wire) {
    this.#wire = wire;
    wire.onRequest = (request, from) => this.#handle(request, from);
  }

  /** @param options.port 0 or none: a free one. */
  static async open(options: { address: string; port?: number; transport?: 'udp' | 'tcp' }): Promise<Phone> {
    return new Phone(await Wire.open(options.address, options.port ?? 0, options.transport ?? 'udp'));
  }

  get address(): string {
    return this.#wire.address;
  }

  get port(): number {
    return this.#wire.port;
  }

  /** A URI under which this phone can be called. */
  get uri(): string {
    return this.#wire.contact().slice(1, -1);
  }

  /** Everything on the wire, of all calls and of none. */
  get messages(): LoggedMessage[] {
    return this.#wire.log;
  }

  /** Places a call; its outcome is awaited on the Call. */
  async call(options: CallOptions): Promise<Call> {
    const { via } = options;
    const rtp = await RtpPort.open(this.address);
    if (options.sound) rtp.play(options.sound);
    rtp.quiet = options.quiet === true;
    const callId = options.callId ?? `${random()}@phone`;
    const call = new Call(this.#wire, rtp, {
      callId,
      tag: options.tag,
      rewrite: options.rewrite,
      codecs: options.codecs ?? this.#codecs,
      eventType: options.events === false ? undefined : 101,
    });
    this.#calls.set(callId, call);
    const uri = uriFor(options.to, via, this.#wire.transport);
    call.start({
      uri,
      from: uriFor(options.from, this),
      to: uri,
      hop: via,
      headers: options.headers ?? [],
      offer: options.offer !== false,
    });
    return call;
  }

  /**
   * From now on, INVITEs are treated like this. `sound` is what an answered caller hears (440 Hz if not
   * given).
   */
  listen(
    manner: Manner,
    options: {
      sound?: () => SoundSource;
      codecs?: Codec[];
      quiet?: boolean;
      rewrite?: (sdp: string) => string;
    } = {},
  ): void {
    this.#manner = manner;
    this.#rewrite = options.rewrite;
    this.#quiet = options.quiet === true;
    this.#sound = options.sound ?? (() => tone(440));
    this.#codecs = options.codecs ?? this.#codecs;
  }

  /** Resolves with the next call that comes in. */
  async incoming(timeoutMs = 10_000): Promise<Call> {
    const call = await this.#wire.until(() => this.received[this.#taken], 'an incoming call', timeoutMs);
    this.#taken++;
    return call;
  }

  /** Nobody waits any more for the calls that have come in so far. */
  forget(): void {
    this.received.length = 0;
    this.#taken = 0;
  }

  /**
   * Sends a request outside any call (OPTIONS, REGISTER …) and resolves with the final response.
   * @throws Error when none comes.
   */
  async request(
    method: string,
    options: { to: string; from: string; via: HostPort; headers?: HeaderLine[]; timeoutMs?: number },
  ): Promise<Reply> {
    let reply: Reply | undefined;
    const uri = uriFor(options.to, options.via, this.#wire.transport);
    const transaction = this.#wire.request(
      `${method} ${uri} SIP/2.0`,
      [
        ['Max-Forwards', '70'],
        ['From', `<${uriFor(options.from, this)}>;tag=${random()}`],
        ['To', `<${uri}>`],
        ['Call-ID', `${random()}@phone`],
        ['CSeq', `1 ${method}`],
        ['Contact', this.#wire.contact()],
        ...(options.headers ?? []),
      ],
      '',
      options.via,
      (response) => {
        if ((response.code ?? 0) < 200) return;
        reply = replyOf(response);
      },
    );
    try {
      return await this.#wire.until(() => reply, `an answer to ${method}`, options.timeoutMs ?? 5000);
    } finally {
      transaction.stop();
    }
  }

  /** Puts any text on the wire, well-formed or not. */
  send(text: string, to: HostPort): void {
    this.#wire.send(text, to);
  }

  /** Waits on the whole phone: `look` is asked again after every message. */
  async until<T>(look: () => T | undefined, what: string, timeoutMs = 10_000): Promise<T> {
    return this.#wire.until(look, what, timeoutMs);
  }

  /** Resolves with the first message that `look` likes, among those that have come and that will. */
  async message(look: (text: string) => boolean, timeoutMs = 5000): Promise<LoggedMessage> {
    return this.#wire.until(
      () => this.messages.find(({ received, text }) => received && look(text)),
      'a message',
      timeoutMs,
    );
  }

  /** Hangs up what is still up, without waiting for replies, and frees all ports. */
  async close(): Promise<void> {
    for (const call of this.#calls.values()) {
      call.leave();
      call.drop();
    }
    await this.#wire.close();
  }

  #handle(request: SipMessage, from: HostPort): void {
    const call = this.#calls.get(header(request, 'call-id') ?? '');
    if (call) return call.handle(request, from);
    if (request.method === 'INVITE' && !tagOf(header(request, 'to'))) {
      this.#ringIn(request, from).catch((error: unknown) => {
        if (!(error instanceof Error)) throw error;
        this.#wire.respond(request, from, `500 ${error.message.replace(/[\r\n]+/g, ' ')}`, [], '', random());
      });
    } else if (request.method === 'OPTIONS') this.#wire.respond(request, from, '200 OK', [], '', random());
    else if (request.method !== 'ACK')
      this.#wire.respond(request, from, '481 No Such Call', [], '', random());
  }

  async #ringIn(invite: SipMessage, from: HostPort): Promise<void> {
    const manner = this.#manner;
    const callId = header(invite, 'call-id') ?? '';
    const rtp = await RtpPort.open(this.address);
    // The INVITE may have been repeated while the port was opened.
    if (this.#calls.has(callId)) return rtp.close();
    if (this.#sound) rtp.play(this.#sound());
    rtp.quiet = this.#quiet;
    const call = new Call(this.#wire, rtp, {
      callId,
      codecs: this.#codecs,
      eventType: 101,
      rewrite: this.#rewrite,
    });
    this.#calls.set(callId, call);
    if (manner === 'deaf') call.drop();
    else call.receive(invite, from);
    if (manner === 'ring' || manner === 'answer') call.ring();
    if (manner === 'answer') call.answer();
    if (typeof manner === 'object') call.refuse(manner.refuse, manner.reason, manner.headers);
    this.received.push(call);
    this.#wire.changed();
  }
}

function uriFor(number: string, at: HostPort | Phone, transport: 'udp' | 'tcp' = 'udp'): string {
  if (/^(sips?|tel):/.test(number)) return number;
  const host = 'host' in at ? at.host : at.address;
  return `sip:${number}@${host}:${at.port}${transport === 'tcp' ? ';transport=tcp' : ''}`;
}
