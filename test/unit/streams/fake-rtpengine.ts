import { createSocket, type Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { RtpWriter } from '../../../control/streams/rtp.ts';

/**
 * An rtpengine of which nothing is real but its protocol: answers commands, remembers them, and sends a tone
 * of bytes to who subscribes.
 */
export class FakeRtpengine {
  readonly commands: Record<string, unknown>[] = [];
  /** Commands that are refused, with the reason. */
  readonly refused = new Map<string, string>();
  /** So many datagrams are lost on their way in. */
  loses = 0;
  silent = false;
  /** So many queries find a call whose answer has not come to it. */
  unanswered = 0;
  readonly #control: Socket;
  readonly #media: Socket;
  readonly #timers: NodeJS.Timeout[] = [];

  private constructor(control: Socket, media: Socket) {
    this.#control = control;
    this.#media = media;
    control.on('message', (datagram, from) => {
      if (this.silent || this.loses-- > 0) return;
      const text = datagram.toString('utf8');
      const [cookie = '', rest = ''] = [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1)];
      const body = JSON.parse(rest) as Record<string, unknown>;
      this.commands.push(body);
      const reason = this.refused.get(String(body.command));
      control.send(
        `${cookie} ${JSON.stringify(reason ? { result: 'error', 'error-reason': reason } : { result: 'ok', ...this.#answer(body) })}`,
        from.port,
        from.address,
      );
    });
  }

  static async open(): Promise<FakeRtpengine> {
    const [control, media] = [createSocket('udp4'), createSocket('udp4')];
    for (const socket of [control, media])
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return new FakeRtpengine(control, media);
  }

  get address(): { host: string; port: number } {
    return { host: '127.0.0.1', port: (this.#control.address() as AddressInfo).port };
  }

  /** The names of the commands so far. */
  get asked(): string[] {
    return this.commands.map(({ command }) => String(command));
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#control.close();
    this.#media.close();
  }

  #answer(body: Record<string, unknown>): Record<string, unknown> {
    const { port } = this.#media.address();
    // As rtpengine tells of who has no tag yet.
    if (body.command === 'query' && this.unanswered-- > 0)
      return {
        tags: {
          caller: { subscriptions: [{ tag: '', type: 'offer/answer' }] },
          '<untagged 1>': { subscriptions: [{ tag: 'caller', type: 'offer/answer' }] },
        },
      };
    if (body.command === 'query')
      return {
        tags: {
          caller: { subscriptions: [{ tag: 'node', type: 'offer/answer' }] },
          node: { subscriptions: [{ tag: 'caller', type: 'offer/answer' }] },
        },
      };
    if (body.command === 'subscribe request' || body.command === 'publish')
      return { sdp: `v=0\r\nm=audio ${port} RTP/AVP 0 101\r\n` };
    const to = body.command === 'subscribe answer' ? /m=audio (\d+)/.exec(String(body.sdp))?.[1] : undefined;
    if (to) {
      const rtp = new RtpWriter();
      let position = 0;
      this.#timers.push(
        setInterval(
          () =>
            this.#media.send(
              rtp.packet(Buffer.alloc(160, 0x55), (position += 160), false),
              Number(to),
              '127.0.0.1',
            ),
          20,
        ),
      );
    }
    return {};
  }
}
