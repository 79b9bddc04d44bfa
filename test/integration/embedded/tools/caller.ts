import dgram from 'node:dgram';
import net from 'node:net';
import { randomBytes } from 'node:crypto';

const hex = (): string => randomBytes(6).toString('hex');

/** One SIP message as the test reads it: plain text, looked at by line. */
export class Sip {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  get start(): string {
    return this.text.split('\r\n', 1)[0] ?? '';
  }
  get status(): number {
    return Number(/^SIP\/2\.0 (\d{3})/.exec(this.text)?.[1] ?? 0);
  }
  get method(): string {
    return /^CSeq:\s*\d+\s+(\S+)/im.exec(this.text)?.[1] ?? '';
  }
  header(name: string): string | undefined {
    return new RegExp(`^${name}:\\s*(.*)$`, 'im').exec(this.text.split('\r\n\r\n', 1)[0] ?? '')?.[1]?.trim();
  }
  headers(name: string): string[] {
    return [
      ...(this.text.split('\r\n\r\n', 1)[0] ?? '').matchAll(new RegExp(`^${name}:\\s*(.*)$`, 'gim')),
    ].map((m) => (m[1] ?? '').trim());
  }
  get body(): string {
    return this.text.slice(this.text.indexOf('\r\n\r\n') + 4);
  }
}

export interface InviteOptions {
  headers?: string[];
  /** Leave the call's own X-MV-Call-ID out. */
  orphan?: boolean;
  sdp?: string | null;
  recordRoute?: string[];
  callId?: string;
}

/** A caller with its own SIP and RTP sockets; no stack behind it, so that every byte is the test's. */
export class Caller {
  readonly received: Sip[] = [];
  readonly rtp: Buffer[] = [];
  readonly callId: string;
  readonly fromTag: string = hex();
  readonly sip: dgram.Socket;
  readonly media: dgram.Socket;
  #tcp: net.Socket | undefined;
  #tcpPending = '';
  toTag = '';
  cseq = 1;
  inviteBranch = `z9hG4bK${hex()}`;
  /** Whether a 2xx is acknowledged by itself, and a BYE answered. */
  polite = true;
  /** What becomes of each message on its way out. */
  sent: (text: string) => string = (text) => text;
  remoteRtp: { port: number } | undefined;
  readonly nodePort: number;
  #watchers: (() => void)[] = [];
  #sequence = 1;
  #timestamp = 1000;

  static async open(nodePort: number, transport: 'udp' | 'tcp' = 'udp'): Promise<Caller> {
    const sip = dgram.createSocket('udp4');
    const media = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => sip.bind(0, '127.0.0.1', resolve));
    await new Promise<void>((resolve) => media.bind(0, '127.0.0.1', resolve));
    const caller = new Caller(nodePort, sip, media);
    if (transport === 'tcp') await caller.#connect();
    return caller;
  }

  constructor(nodePort: number, sip: dgram.Socket, media: dgram.Socket) {
    this.nodePort = nodePort;
    this.sip = sip;
    this.media = media;
    this.callId = `${hex()}@test`;
    sip.on('message', (data) => this.#message(data.toString('latin1')));
    media.on('message', (data) => {
      this.rtp.push(Buffer.from(data));
      this.#changed();
    });
  }

  async #connect(): Promise<void> {
    const socket = net.connect(this.nodePort, '127.0.0.1');
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#tcpPending += chunk.toString('latin1');
      for (;;) {
        const end = this.#tcpPending.indexOf('\r\n\r\n');
        if (end < 0) return;
        const length = Number(/^Content-Length:\s*(\d+)/im.exec(this.#tcpPending)?.[1] ?? 0);
        if (this.#tcpPending.length < end + 4 + length) return;
        const message = this.#tcpPending.slice(0, end + 4 + length);
        this.#tcpPending = this.#tcpPending.slice(end + 4 + length);
        this.#message(message);
      }
    });
    this.#tcp = socket;
  }

  get tcp(): net.Socket | undefined {
    return this.#tcp;
  }

  get transport(): string {
    return this.#tcp ? 'TCP' : 'UDP';
  }

  get sipPort(): number {
    return this.sip.address().port;
  }

  get rtpPort(): number {
    return this.media.address().port;
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #message(text: string): void {
    const message = new Sip(text);
    this.received.push(message);
    if (message.status >= 180 && message.method === 'INVITE') {
      this.toTag ||= /;tag=([^;\s]+)/.exec(message.header('To') ?? '')?.[1] ?? '';
      const port = /^m=audio (\d+)/m.exec(message.body)?.[1];
      if (port && port !== '0') this.remoteRtp = { port: Number(port) };
    }
    if (this.polite && message.status >= 200 && message.method === 'INVITE') this.ack(message);
    if (this.polite && message.start.startsWith('BYE ')) this.answer(message);
    this.#changed();
  }

  send(message: string): void {
    const text = this.sent(message);
    if (this.#tcp) this.#tcp.write(text, 'latin1');
    else this.sip.send(Buffer.from(text, 'latin1'), this.nodePort, '127.0.0.1');
  }

  /** The description this caller offers. */
  sdp(direction: string = 'sendrecv', formats: string = '0 8 101'): string {
    return [
      'v=0',
      'o=- 1 1 IN IP4 127.0.0.1',
      's=-',
      'c=IN IP4 127.0.0.1',
      't=0 0',
      `m=audio ${this.rtpPort} RTP/AVP ${formats}`,
      'a=rtpmap:0 PCMU/8000',
      'a=rtpmap:8 PCMA/8000',
      'a=rtpmap:101 telephone-event/8000',
      'a=fmtp:101 0-15',
      `a=${direction}`,
      'a=ptime:20',
      '',
    ].join('\r\n');
  }

  /** Any request of this call. */
  request(
    method: string,
    options: {
      branch?: string;
      cseq?: number;
      to?: string;
      headers?: string[];
      body?: string;
      type?: string;
    } = {},
  ): string {
    const body = options.body ?? '';
    const to = options.to ?? `<sip:+4915112345@127.0.0.1>${this.toTag ? `;tag=${this.toTag}` : ''}`;
    return [
      `${method} sip:+4915112345@127.0.0.1:${this.nodePort} SIP/2.0`,
      `Via: SIP/2.0/${this.transport} 127.0.0.1:${this.sipPort};branch=${options.branch ?? `z9hG4bK${hex()}`};rport`,
      'Max-Forwards: 70',
      `From: "Anna" <sip:+4930111@127.0.0.1>;tag=${this.fromTag}`,
      `To: ${to}`,
      `Call-ID: ${this.callId}`,
      `CSeq: ${options.cseq ?? ++this.cseq} ${method}`,
      `Contact: <sip:anna@127.0.0.1:${this.sipPort};transport=${this.transport.toLowerCase()}>`,
      ...(options.headers ?? []),
      ...(body ? [`Content-Type: ${options.type ?? 'application/sdp'}`] : []),
      `Content-Length: ${Buffer.byteLength(body, 'latin1')}`,
      '',
      body,
    ].join('\r\n');
  }

  invite(options: InviteOptions = {}): string {
    const sdp = options.sdp === undefined ? this.sdp() : (options.sdp ?? '');
    const text = this.request('INVITE', {
      cseq: 1,
      branch: this.inviteBranch,
      to: '<sip:+4915112345@127.0.0.1>',
      body: sdp,
      headers: [
        ...(options.recordRoute ?? []).map((route) => `Record-Route: ${route}`),
        ...(options.orphan ? [] : ['X-MV-Call-ID: call_test', 'X-MV-From: +4930111']),
        ...(options.headers ?? []),
      ],
    });
    this.send(text);
    return text;
  }

  ack(final: Sip, body: string = ''): void {
    const cseq = Number(/^CSeq:\s*(\d+)/im.exec(final.text)?.[1]);
    const branch =
      final.status < 300
        ? `z9hG4bK${hex()}`
        : (/branch=([^;\s]+)/.exec(final.header('Via') ?? '')?.[1] ?? '');
    this.send(this.request('ACK', { cseq, branch, body, to: final.header('To') ?? '' }));
  }

  /** 200 to a request from the node. */
  answer(request: Sip): void {
    const copied = request.text.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq):/i.test(line));
    this.send(`SIP/2.0 200 OK\r\n${copied.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`);
  }

  cancel(): void {
    this.send(
      this.request('CANCEL', { cseq: 1, branch: this.inviteBranch, to: '<sip:+4915112345@127.0.0.1>' }),
    );
  }

  bye(): void {
    this.send(this.request('BYE'));
  }

  /** Sends 20 ms of audio or an event. */
  sendRtp(
    payload: number,
    data: Buffer,
    options: { marker?: boolean; timestamp?: number; from?: dgram.Socket } = {},
  ): void {
    const header = Buffer.alloc(12);
    header[0] = 0x80;
    header[1] = payload | (options.marker ? 0x80 : 0);
    header.writeUInt16BE(this.#sequence++ & 0xffff, 2);
    header.writeUInt32BE((options.timestamp ?? this.#timestamp) >>> 0, 4);
    header.writeUInt32BE(0x1234, 8);
    if (options.timestamp === undefined) this.#timestamp += 160;
    if (this.remoteRtp)
      (options.from ?? this.media).send(Buffer.concat([header, data]), this.remoteRtp.port, '127.0.0.1');
  }

  /** Presses a key as RFC 4733 event; `ends` end packets of the three arrive. */
  press(key: string, options: { ends?: number; payload?: number; double?: boolean } = {}): void {
    const event = '0123456789*#ABCD'.indexOf(key);
    const timestamp = (this.#timestamp += 1600);
    const packet = (end: boolean, duration: number): Buffer =>
      Buffer.from([event, (end ? 0x80 : 0) | 10, duration >> 8, duration & 0xff]);
    for (let i = 1; i <= 5; i++) {
      this.sendRtp(options.payload ?? 101, packet(false, 160 * i), { marker: i === 1, timestamp });
      if (options.double) this.sendRtp(options.payload ?? 101, packet(false, 160 * i), { timestamp });
    }
    for (let i = 0; i < (options.ends ?? 3); i++)
      this.sendRtp(options.payload ?? 101, packet(true, 960), { timestamp });
    this.#timestamp += 1600;
  }

  until(condition: () => boolean, what: string, ms: number = 8_000): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const watcher = (): void => {
        if (!condition()) return;
        done();
        resolve();
      };
      const done = (): void => {
        clearTimeout(timer);
        this.#watchers = this.#watchers.filter((w) => w !== watcher);
      };
      const timer = setTimeout(() => {
        done();
        reject(
          new Error(
            `the caller waited in vain for ${what}; got: ${this.received.map((m) => m.start).join(' | ')}`,
          ),
        );
      }, ms);
      this.#watchers.push(watcher);
    });
  }

  /** A response to a method, waiting for it if need be. */
  async response(status: number, method: string = 'INVITE'): Promise<Sip> {
    const find = (): Sip | undefined => this.received.find((m) => m.status === status && m.method === method);
    await this.until(() => find() !== undefined, `${status} to ${method}`);
    return find() ?? new Sip('');
  }

  async requestReceived(method: string): Promise<Sip> {
    const find = (): Sip | undefined => this.received.find((m) => m.start.startsWith(`${method} `));
    await this.until(() => find() !== undefined, method);
    return find() ?? new Sip('');
  }

  close(): void {
    this.sip.close();
    this.media.close();
    this.#tcp?.destroy();
  }
}
