import { CallAudio, type AudioSettings } from './call-audio.ts';
import type { Codec } from '../../cli/phone/codec.ts';
import type { Heard } from '../../cli/phone/ear.ts';
import type { KeyManner, RtpPort } from '../../cli/phone/rtp-port.ts';
import { readSdp, type AudioDescription, type Direction } from './sdp.ts';
import { Dialog } from './dialog.ts';
import {
  header,
  writeSip,
  type HeaderLine,
  type HostPort,
  type SipMessage,
} from '../../cli/phone/sip-message.ts';
import { Watched } from '../../cli/phone/wait.ts';
import { random, type ClientTransaction, type LoggedMessage, type Wire } from './wire.ts';

/** A response as a test looks at it. */
export interface Reply {
  code: number;
  reason: string;
  /** First value of each header, names in lower case. */
  headers: Readonly<Record<string, string>>;
  message: SipMessage;
}

export interface CallEnd {
  by: 'local' | 'remote';
  how: 'bye' | 'cancel';
  at: Date;
  /** The Reason header of the BYE or CANCEL. */
  reason: string | undefined;
}

export interface CallSettings extends AudioSettings {
  callId: string;
  /** The tag of its own side; one of its own if not given. */
  tag?: string | undefined;
}

/** A dialog of the test phone with its audio, on either side. `Phone` makes them. */
export class Call extends Watched {
  readonly callId: string;
  readonly dialog: Dialog;
  readonly rtp: RtpPort;
  readonly provisionals: Reply[] = [];
  /** Keys that came by SIP INFO. */
  infoKeys = '';
  /** The INVITE this call began with, on the called side. */
  invite: SipMessage | undefined;
  /** Dead: nothing is answered any more. */
  dropped = false;
  /** A CANCEL gets its 200 and changes nothing: the answer is on its way. */
  ignoresCancel = false;
  /** What this side makes of its SDP before that is sent. */
  rewrite: ((sdp: string) => string) | undefined;
  /** The answer to every offer within the call, such as `488 Not Acceptable Here`; accepted if not given. */
  refusesOffers: string | undefined;
  #wire: Wire;
  #audio: CallAudio;
  #final: Reply | undefined;
  #transaction: ClientTransaction | undefined;
  #ack = '';
  /** The offer was ours. Without it the answer has theirs, and the ACK our answer. */
  #offered = true;
  #answer = '';
  #cancelled = false;
  #end: CallEnd | undefined;
  #from: HostPort | undefined;
  #acked = false;

  constructor(wire: Wire, rtp: RtpPort, settings: CallSettings) {
    super();
    this.#wire = wire;
    this.rtp = rtp;
    this.callId = settings.callId;
    this.dialog = new Dialog(settings.callId, settings.tag ?? random(), wire.contact());
    this.rewrite = settings.rewrite;
    this.#audio = new CallAudio(rtp, { ...settings, rewrite: (sdp) => this.rewrite?.(sdp) ?? sdp });
  }

  // What was seen and heard

  get heard(): Heard {
    return this.rtp.heard;
  }

  /** What the far end has said of its audio, the last time. */
  get remoteAudio(): AudioDescription | undefined {
    return this.#audio.remote;
  }

  /** Every message of this call, as it was on the wire. */
  get messages(): LoggedMessage[] {
    return this.#wire.log.filter(({ text }) => text.includes(this.callId));
  }

  /** All that came, in one text, to be searched for what must not be in it. */
  get receivedText(): string {
    return this.messages
      .filter(({ received }) => received)
      .map(({ text }) => text)
      .join('\n');
  }

  /**
   * Resolves when this provisional response (any but 100, if none is named) has come.
   * @throws Error when the call is decided before.
   */
  async provisional(code?: number, timeoutMs = 10_000): Promise<Reply> {
    return this.until(
      () => {
        const found = this.provisionals.find((reply) =>
          code === undefined ? reply.code > 100 : reply.code === code,
        );
        if (!found && this.#final)
          throw new Error(`expected ${code ?? 'ringing'}, got ${this.#final.code} ${this.#final.reason}`);
        return found;
      },
      () => `${code ?? 'a provisional response'}; ${this.story()}`,
      timeoutMs,
    );
  }

  /** Resolves with the final response to the INVITE. */
  async final(timeoutMs = 35_000): Promise<Reply> {
    return this.until(
      () => this.#final,
      () => `a final response; ${this.story()}`,
      timeoutMs,
    );
  }

  /**
   * Resolves when the call is answered, acknowledged and audio runs.
   * @throws Error with the code when it is refused.
   */
  async answered(timeoutMs = 10_000): Promise<Reply> {
    const final = await this.final(timeoutMs);
    if (final.code >= 300) throw new Error(`expected an answer, got ${final.code} ${final.reason}`);
    await this.until(
      () => this.invite === undefined || this.#acked || undefined,
      () => `the ACK; ${this.story()}`,
      timeoutMs,
    );
    return final;
  }

  /** Resolves when the call is over by BYE from either side, or on the called side by CANCEL. */
  async ended(timeoutMs = 15_000): Promise<CallEnd> {
    return this.until(
      () => this.#end,
      () => `the end of the call; ${this.story()}`,
      timeoutMs,
    );
  }

  get isOver(): boolean {
    return this.#end !== undefined || (this.#final?.code ?? 0) >= 300;
  }

  /** The first lines of all messages, for people who read a failed test. */
  story(): string {
    return this.messages
      .map(({ received, text }) => `${received ? '<' : '>'} ${text.split('\r\n')[0] ?? ''}`)
      .join(' | ');
  }

  // What a caller does

  /** Sends the first INVITE. */
  start(invite: {
    uri: string;
    from: string;
    to: string;
    hop: HostPort;
    headers: HeaderLine[];
    offer: boolean;
  }): void {
    this.dialog.call(invite.from, invite.to, invite.uri);
    this.#offered = invite.offer;
    const body = invite.offer ? this.#audio.describe('sendrecv') : '';
    const headers = [...this.dialog.headers('INVITE'), ...invite.headers, ...typeOf(body)];
    this.#transaction = this.#wire.request(
      `INVITE ${invite.uri} SIP/2.0`,
      headers,
      body,
      invite.hop,
      (response) => this.#inviteResponse(response),
    );
  }

  /**
   * Gives up before the answer: CANCEL, as soon as the far end has shown life (RFC 3261 §9.1). `final` tells
   * the outcome.
   */
  async cancel(timeoutMs = 10_000): Promise<void> {
    this.#cancelled = true;
    await this.until(
      () => this.provisionals.length > 0 || this.#final !== undefined || undefined,
      () => `a sign of life; ${this.story()}`,
      timeoutMs,
    );
    if (!this.#final && this.#transaction) this.#wire.cancel(this.#transaction);
  }

  /** Sends BYE along the route set; resolves with the answer's code. */
  async hangup(): Promise<number> {
    const reply = this.request('BYE');
    this.#over('local', 'bye', undefined);
    return (await reply).code;
  }

  /** Presses keys by RFC 4733. */
  async press(keys: string, durationMs = 120, manner: KeyManner = 'right'): Promise<void> {
    if (!this.remoteAudio?.eventType) throw new Error('the far end takes no telephone events');
    await this.rtp.press(keys, durationMs, manner);
  }

  /**
   * Presses keys by SIP INFO (application/dtmf-relay), one after the other; resolves with the last answer's
   * code.
   */
  async pressInfo(keys: string): Promise<number> {
    let code = 0;
    for (const key of keys) {
      code = (
        await this.request(
          'INFO',
          [['Content-Type', 'application/dtmf-relay']],
          `Signal=${key}\r\nDuration=120\r\n`,
        )
      ).code;
    }
    return code;
  }

  /** Re-INVITE with `a=sendonly`; resolves with the far end's answer. */
  async hold(): Promise<AudioDescription> {
    return this.reinvite('sendonly');
  }

  async resume(): Promise<AudioDescription> {
    return this.reinvite('sendrecv');
  }

  /** From now on the call is in this codec alone, by re-INVITE. */
  async changeCodec(codec: Codec): Promise<AudioDescription> {
    return this.reinvite('sendrecv', codec);
  }

  /** @throws Error when the re-INVITE is refused. */
  async reinvite(direction: Direction, only?: Codec): Promise<AudioDescription> {
    const body = this.#audio.describe(direction, only);
    const reply = await this.request('INVITE', typeOf(body), body);
    if (reply.code >= 300) throw new Error(`the re-INVITE was refused with ${reply.code} ${reply.reason}`);
    this.dialog.refresh(reply.message);
    this.#acknowledge(reply.message);
    this.#audio.take(reply.message);
    return readSdp(reply.message.body);
  }

  /**
   * Ends the call at once, as the phone's own closing does: BYE, CANCEL or 480, and no waiting for an answer.
   */
  leave(): void {
    if (this.dropped || this.isOver) return;
    if (this.invite && !this.#final) this.refuse(480, 'Phone Closed');
    else if (this.#final) this.#send('BYE', [], '', () => undefined);
    else if (this.#transaction) this.#wire.cancel(this.#transaction);
  }

  /** Dies: no more audio, no answer to anything, no good-bye. */
  drop(): void {
    this.dropped = true;
    this.#transaction?.stop();
    this.rtp.close();
    this.abandon('the phone is dead');
    this.heard.abandon('the phone is dead');
  }

  // What a called phone does

  /** Takes an INVITE as the called side. */
  receive(invite: SipMessage, from: HostPort): void {
    this.invite = invite;
    this.#from = from;
    this.dialog.calledBy(invite);
    this.#respond('100 Trying', [], '', '');
  }

  ring(headers: HeaderLine[] = []): void {
    this.#respond('180 Ringing', [['Contact', this.#wire.contact()], ...headers]);
  }

  /** 183 with SDP: audio starts at once. */
  progress(headers: HeaderLine[] = []): void {
    if (this.invite?.body) this.#audio.take(this.invite);
    const body = this.#audio.describe('sendrecv');
    this.#respond(
      '183 Session Progress',
      [['Contact', this.#wire.contact()], ...headers, ...typeOf(body)],
      body,
    );
  }

  /** 200 with SDP, repeated until the ACK; audio starts at once. */
  answer(headers: HeaderLine[] = []): void {
    if (!this.invite || this.#final || this.dropped) return;
    if (this.invite.body) this.#audio.take(this.invite);
    const body = this.#audio.describe('sendrecv');
    const text = this.#respond(
      '200 OK',
      [['Contact', this.#wire.contact()], ...headers, ...typeOf(body)],
      body,
    );
    this.#answer = text;
    this.#finish(200, 'OK', text);
  }

  /** Sends its 200 once more, as if the ACK were lost. */
  answerAgain(): void {
    if (this.#from) this.#wire.send(this.#answer, this.#from);
  }

  /** Refuses with this code. */
  refuse(code: number, reason = 'Refused', headers: HeaderLine[] = []): void {
    if (!this.invite || this.#final || this.dropped) return;
    this.#finish(code, reason, this.#respond(`${code} ${reason}`, headers));
    this.rtp.close();
  }

  #finish(code: number, reason: string, text: string): void {
    if (!this.invite || !this.#from) return;
    this.#final = { code, reason, headers: {}, message: this.invite };
    this.#wire.repeatUntil(text, this.#from, () => this.#acked || this.dropped || this.#end?.how === 'bye');
    this.changed();
  }

  #respond(status: string, headers: HeaderLine[], body = '', tag = this.dialog.localTag): string {
    if (!this.invite || !this.#from) throw new Error('nobody calls');
    return this.#wire.respond(this.invite, this.#from, status, headers, body, tag);
  }

  // Requests inside the dialog

  /** Sends a request inside the dialog and resolves with its final response. */
  async request(method: string, headers: HeaderLine[] = [], body = '', timeoutMs = 10_000): Promise<Reply> {
    let reply: Reply | undefined;
    const transaction = this.#send(method, headers, body, (response) => {
      if ((response.code ?? 0) < 200) return;
      reply = replyOf(response);
      this.changed();
    });
    try {
      return await this.until(
        () => reply,
        () => `an answer to ${method}; ${this.story()}`,
        timeoutMs,
      );
    } finally {
      transaction.stop();
    }
  }

  #send(
    method: string,
    headers: HeaderLine[],
    body: string,
    onResponse: (response: SipMessage) => void,
  ): ClientTransaction {
    const { target, hop } = this.dialog;
    return this.#wire.request(
      `${method} ${target} SIP/2.0`,
      [...this.dialog.headers(method), ...headers],
      body,
      hop,
      onResponse,
    );
  }

  /** A request of the far end in this dialog, ACK included. */
  handle(request: SipMessage, from: HostPort): void {
    if (this.dropped) return;
    const ok = (headers: HeaderLine[] = [], body = ''): string =>
      this.#wire.respond(request, from, '200 OK', headers, body, this.dialog.localTag);
    if (request.method === 'ACK') {
      this.#acked = true;
      if (request.body) this.#audio.take(request);
    } else if (request.method === 'CANCEL') {
      ok();
      // Too late once there is a final response (RFC 3261 §9.2).
      if (this.#final || this.ignoresCancel) return;
      this.refuse(487, 'Request Terminated');
      this.#over('remote', 'cancel', header(request, 'reason'));
    } else if (request.method === 'BYE') {
      ok();
      this.#over('remote', 'bye', header(request, 'reason'));
    } else if (
      this.refusesOffers !== undefined &&
      request.body &&
      (request.method === 'INVITE' || request.method === 'UPDATE')
    ) {
      this.#wire.respond(request, from, this.refusesOffers, [], '', this.dialog.localTag);
    } else if (request.method === 'INVITE') {
      this.dialog.refresh(request);
      if (request.body) this.#audio.take(request);
      const body = this.#audio.answer();
      this.#acked = false;
      const text = ok([['Contact', this.#wire.contact()], ...typeOf(body)], body);
      this.#wire.repeatUntil(text, from, () => this.#acked || this.dropped || this.#end !== undefined);
    } else {
      if (request.method === 'INFO')
        this.infoKeys += /^Signal\s*=\s*([0-9A-D*#])/im.exec(request.body)?.[1] ?? '';
      ok();
    }
    this.changed();
  }

  #inviteResponse(response: SipMessage): void {
    if (this.dropped) return;
    const reply = replyOf(response);
    if (reply.code < 200) {
      this.provisionals.push(reply);
      if (response.body) this.#audio.take(response);
    } else if (reply.code >= 300) {
      this.#final ??= reply;
      this.rtp.close();
    } else if (this.#final) {
      // The 200 was repeated, so our ACK was lost.
      this.#wire.send(this.#ack, this.dialog.hop);
    } else {
      this.#final = reply;
      this.dialog.answeredBy(response);
      if (response.body) this.#audio.take(response);
      this.#acknowledge(response, this.#offered ? '' : this.#audio.answer());
      // The answer crossed our CANCEL: the call stands, and RFC 3261 §9.1 wants a BYE.
      if (this.#cancelled) {
        this.#send('BYE', [], '', () => undefined);
        this.#over('local', 'bye', undefined);
      }
    }
    this.changed();
  }

  #over(by: CallEnd['by'], how: CallEnd['how'], reason: string | undefined): void {
    this.#end ??= { by, how, at: new Date(), reason };
    this.rtp.close();
    this.changed();
  }

  /**
   * ACK of a 2xx: a request of its own along the route set, with the number of its INVITE (RFC 3261
   * §13.2.2.4).
   */
  #acknowledge(answer: SipMessage, body = ''): void {
    const headers: HeaderLine[] = [
      ['Via', this.#wire.newVia()],
      ...this.dialog.headers('ACK', answer),
      ...typeOf(body),
    ];
    this.#ack = writeSip(`ACK ${this.dialog.target} SIP/2.0`, headers, body);
    this.#wire.send(this.#ack, this.dialog.hop);
  }
}

export function replyOf(message: SipMessage): Reply {
  const headers: Record<string, string> = {};
  for (const [name] of message.headers) headers[name.toLowerCase()] ??= header(message, name) ?? '';
  return { code: message.code ?? 0, reason: message.reason ?? '', headers, message };
}

const typeOf = (body: string): HeaderLine[] => (body ? [['Content-Type', 'application/sdp']] : []);
