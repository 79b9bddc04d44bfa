import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';

/** One SIP call over loopback UDP, just enough of it to find out what a media node makes of our commands. */
export class Caller {
  /** Final answers and requests of the far end, in order: `180`, `200`, `BYE`, … */
  readonly seen: string[] = [];
  /** RTP packets that came, and how many of them were not silence. */
  packets = 0;
  loud = 0;
  /** Telephone events and audio leave from here. */
  readonly #sip: Socket;
  readonly #rtp: Socket;
  readonly #target: { host: string; port: number };
  readonly #callId = randomBytes(8).toString('hex');
  readonly #tag = randomBytes(4).toString('hex');
  readonly #branch = () => `z9hG4bK${randomBytes(6).toString('hex')}`;
  readonly #watchers = new Set<() => void>();
  #inviteBranch = '';
  #headers: Record<string, string> = {};
  #to = '';
  #media: { host: string; port: number } | undefined;
  #cseq = 1;
  #sequence = 0;
  #timestamp = 0;
  #audio: NodeJS.Timeout | undefined;

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#sip = createSocket('udp4');
    this.#rtp = createSocket('udp4');
    this.#sip.on('message', (message) => this.#read(message.toString()));
    this.#rtp.on('message', (packet) => {
      this.packets++;
      if (packet.subarray(12).some((byte) => byte !== 0xff && byte !== 0x7f && byte !== 0xfe && byte !== 0x7e)) this.loud++;
      this.#changed();
    });
  }

  /** @param headers the X-MV headers of the INVITE, names without the prefix. */
  static async call(target: { host: string; port: number }, headers: Record<string, string>): Promise<Caller> {
    const caller = new Caller(target);
    caller.#sip.bind(0, '127.0.0.1');
    caller.#rtp.bind(0, '127.0.0.1');
    await Promise.all([once(caller.#sip, 'listening'), once(caller.#rtp, 'listening')]);
    caller.#to = `<sip:+15551000@${target.host}>`;
    caller.#headers = Object.fromEntries(Object.entries(headers).map(([name, value]) => [`X-MV-${name}`, value]));
    caller.#inviteBranch = caller.#branch();
    caller.#request('INVITE', 1, caller.#inviteBranch, caller.#headers, [
      'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
      `m=audio ${caller.#rtp.address().port} RTP/AVP 0 101`, 'a=rtpmap:101 telephone-event/8000', 'a=fmtp:101 0-16', '',
    ].join('\r\n'));
    return caller;
  }

  get callId(): string {
    return this.#callId;
  }

  get fromTag(): string {
    return this.#tag;
  }

  /** Waits for a status code or a request; how long is the test's own time limit. */
  until(what: string | (() => boolean)): Promise<void> {
    const met = typeof what === 'string' ? () => this.seen.includes(what) : what;
    if (met()) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = (): void => {
        if (!met()) return;
        this.#watchers.delete(watcher);
        resolve();
      };
      this.#watchers.add(watcher);
    });
  }

  hangUp(): void {
    this.#request('BYE', ++this.#cseq, this.#branch());
  }

  cancel(): void {
    this.#request('CANCEL', 1, this.#inviteBranch);
  }

  /** One RFC 4733 event of 100 ms: the same packet three times as its end, as every phone does. */
  press(digit: string): void {
    const event = '0123456789*#ABCD'.indexOf(digit);
    for (let i = 1; i <= 5; i++) this.#send(101, Buffer.from([event, 10, (i * 160) >> 8, (i * 160) & 0xff]), i === 1);
    for (let i = 0; i < 3; i++) this.#send(101, Buffer.from([event, 0x8a, 800 >> 8, 800 & 0xff]), false);
    this.#timestamp += 800;
  }

  close(): void {
    clearInterval(this.#audio);
    this.#sip.close();
    this.#rtp.close();
  }

  #send(payloadType: number, payload: Buffer, marker: boolean): void {
    if (!this.#media) return;
    const header = Buffer.alloc(12);
    header[0] = 0x80;
    header[1] = payloadType | (marker ? 0x80 : 0);
    header.writeUInt16BE(this.#sequence++ & 0xffff, 2);
    header.writeUInt32BE(this.#timestamp, 4);
    header.writeUInt32BE(0x12345678, 8);
    this.#rtp.send(Buffer.concat([header, payload]), this.#media.port, this.#media.host);
  }

  #request(method: string, cseq: number, branch: string, headers: Record<string, string> = {}, body = ''): void {
    const { host, port } = this.#target;
    const { port: own } = this.#sip.address();
    const lines = [
      `${method} sip:+15551000@${host}:${port} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1:${own};branch=${branch}`,
      'Max-Forwards: 70',
      `From: <sip:+15552000@127.0.0.1>;tag=${this.#tag}`,
      `To: ${method === 'INVITE' || method === 'CANCEL' ? `<sip:+15551000@${host}>` : this.#to}`,
      `Call-ID: ${this.#callId}`,
      `CSeq: ${cseq} ${method}`,
      `Contact: <sip:+15552000@127.0.0.1:${own}>`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      ...(body ? ['Content-Type: application/sdp'] : []),
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    this.#sip.send(`${lines.join('\r\n')}\r\n\r\n${body}`, port, host);
  }

  #read(message: string): void {
    const header = (name: string): string => new RegExp(`^${name}:\\s*(.*?)\\r?$`, 'im').exec(message)?.[1] ?? '';
    const status = /^SIP\/2\.0 (\d+)/.exec(message)?.[1];
    const [number = '', method = ''] = header('CSeq').split(' ');
    if (!status) {
      this.seen.push(message.split(' ', 1)[0] ?? '');
      const copied = ['Via', 'From', 'To', 'Call-ID', 'CSeq'].map((name) => `${name}: ${header(name)}`);
      this.#sip.send(`SIP/2.0 200 OK\r\n${copied.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`, this.#target.port, this.#target.host);
    } else if (method === 'INVITE') {
      if (Number(status) >= 200) {
        this.#to = header('To');
        this.#request('ACK', Number(number), Number(status) < 300 ? this.#branch() : this.#inviteBranch);
      }
      const port = /^m=audio (\d+)/m.exec(message)?.[1];
      if (port && !this.#media) {
        this.#media = { host: /^c=IN IP4 (\S+)/m.exec(message)?.[1] ?? '', port: Number(port) };
        this.#audio = setInterval(() => {
          this.#send(0, Buffer.alloc(160, 0xff), false);
          this.#timestamp += 160;
        }, 20);
      }
      this.seen.push(status);
    }
    this.#changed();
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}
