import dgram from 'node:dgram';
import { expect } from 'chai';
import fc from 'fast-check';
import { FrameClock } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import { RtpSession } from '../../../freeswitch/embedded/rtp/session.ts';
import type { Digit } from '../../../freeswitch/embedded/rtp/telephone-event.ts';

describe('embedded: RTP session', () => {
  it('survives any datagrams, and still hears a key among them', async () => {
    const errors: unknown[] = [];
    const clock = new FrameClock((error) => errors.push(error));
    const keys: Digit[] = [];
    const start = 36_000 + 2 * Math.floor(Math.random() * 1000);
    const ports = new PortRange(start, start + 100);
    const session = await RtpSession.open(
      '127.0.0.1',
      ports,
      clock,
      (digit) => void (digit.digit === 'D' && keys.push(digit)),
    );
    const far = dgram.createSocket('udp4');
    await new Promise<void>((resolve) => far.bind(0, '127.0.0.1', resolve));
    session.agree({
      codec: 'PCMU',
      payload: 0,
      eventPayload: 101,
      receives: new Map([
        [0, 'PCMU'],
        [101, 'event'],
      ]),
      remote: { address: '127.0.0.1', port: far.address().port },
      direction: 'sendrecv',
    });
    // One at a time: the socket's buffer is small, and what does not fit is lost.
    const send = async (data: Uint8Array): Promise<void> => {
      await new Promise<void>((resolve) => far.send(data, session.port, '127.0.0.1', () => resolve()));
      await new Promise((resolve) => setImmediate(resolve));
    };
    const looksLikeRtp = fc
      .tuple(
        fc.integer({ min: 0x80, max: 0xbf }),
        fc.constantFrom(0, 101, 0x80, 0xe5, 200),
        fc.uint8Array({ maxLength: 40 }),
      )
      .map(([first, second, rest]) => Uint8Array.of(first, second, ...rest));
    for (const data of fc.sample(fc.oneof(fc.uint8Array({ maxLength: 60 }), looksLikeRtp), 500))
      await send(data);
    keys.length = 0;
    // The key D, whole in one end packet, until one arrives.
    while (keys.length === 0)
      await send(Uint8Array.of(0x80, 0xe5, 0, 1, 9, 9, 9, 9, 0, 0, 0, 1, 15, 0x8a, 3, 0x20));
    expect(keys).to.deep.equal([{ digit: 'D', duration: 800 }]);
    session.close();
    far.close();
    expect(errors).to.deep.equal([]);
    expect(clock.size).to.equal(0);
  });

  it('gives its port back when it closes, and says so when there is none', async () => {
    const clock = new FrameClock(() => {});
    const start = 38_000 + 2 * Math.floor(Math.random() * 1000);
    const ports = new PortRange(start, start + 1);
    const session = await RtpSession.open('127.0.0.1', ports, clock, () => {});
    const error = await RtpSession.open('127.0.0.1', ports, clock, () => {}).then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(error).to.be.instanceOf(Error);
    session.close();
    const end = Date.now() + 2_000;
    while (ports.used > 0 && Date.now() < end) await new Promise((resolve) => setImmediate(resolve));
    expect(ports.used).to.equal(0);
  });
});
