import { expect } from 'chai';
import { parseRtp, parseTelephoneEvent, writeRtp, writeTelephoneEvent } from '../../../../cli/phone/rtp.ts';
import { RtpPort } from '../../../../cli/phone/rtp-port.ts';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

describe('cli/phone/rtp', () => {
  it('reads packets with contributing sources, header extension and padding', () => {
    const plain = writeRtp({
      payloadType: 8,
      marker: true,
      sequence: 65535,
      timestamp: 2 ** 32 - 1,
      ssrc: 7,
      payload: Buffer.from('sound'),
    });
    expect(parseRtp(plain)).to.deep.include({
      payloadType: 8,
      marker: true,
      sequence: 65535,
      timestamp: 2 ** 32 - 1,
      ssrc: 7,
    });
    const decorated = Buffer.concat([
      Buffer.from([0x80 | 0x20 | 0x10 | 2]),
      plain.subarray(1, 12),
      Buffer.alloc(8),
      Buffer.from([0xbe, 0xde, 0, 1, 1, 2, 3, 4]),
      Buffer.from('sound'),
      Buffer.from([0, 0, 3]),
    ]);
    expect(parseRtp(decorated)?.payload.toString()).to.equal('sound');
  });

  it('takes RTCP and STUN for what they are', () => {
    expect(parseRtp(Buffer.from([0x80, 200, ...new Array<number>(20).fill(0)]))).to.equal(undefined);
    expect(parseRtp(Buffer.from([0, 1, ...new Array<number>(20).fill(0)]))).to.equal(undefined);
    expect(parseRtp(Buffer.alloc(4, 0x80))).to.equal(undefined);
  });

  it('writes telephone events as RFC 4733 has them', () => {
    expect(writeTelephoneEvent({ key: '#', end: true, duration: 800 }).toString('hex')).to.equal('0b8a0320');
    expect(parseTelephoneEvent(Buffer.from('0a0a00a0', 'hex'))).to.deep.equal({
      key: '*',
      end: false,
      duration: 160,
    });
    expect(() => writeTelephoneEvent({ key: 'E', end: false, duration: 0 })).to.throw('no such key');
  });

  it('presses a key with one marker, growing durations, one timestamp and three ends', async () => {
    const ear = createSocket('udp4');
    ear.bind(0, '127.0.0.1');
    await once(ear, 'listening');
    const port = await RtpPort.open('127.0.0.1');
    const events: string[] = [];
    const timestamps = new Set<number>();
    ear.on('message', (datagram) => {
      const packet = parseRtp(datagram);
      if (packet?.payloadType !== 101) return;
      const event = parseTelephoneEvent(packet.payload);
      timestamps.add(packet.timestamp);
      events.push(`${packet.marker ? 'M' : ''}${event?.key}${event?.duration}${event?.end ? 'E' : ''}`);
    });
    port.remote = { host: '127.0.0.1', port: ear.address().port };
    port.start();
    await port.press('5', 80);
    while (events.length < 6) await once(ear, 'message');
    port.close();
    ear.close();
    expect(events).to.deep.equal(['M5160', '5320', '5480', '5640E', '5640E', '5640E']);
    expect(timestamps.size).to.equal(1);
  });
});
