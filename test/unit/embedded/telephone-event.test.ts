import { expect } from 'chai';
import fc from 'fast-check';
import { EventReceiver, EventSender, type Digit } from '../../../freeswitch/embedded/rtp/telephone-event.ts';

interface Receiving {
  digits: Digit[];
  keys: () => string;
  receiver: EventReceiver;
  /** The next packet of the stream. */
  take: (timestamp: number, data: Uint8Array, marker?: boolean, offset?: number) => void;
}

function receive(): Receiving {
  const digits: Digit[] = [];
  const receiver = new EventReceiver((digit) => digits.push(digit));
  let sequence = 65_530;
  return {
    digits,
    receiver,
    keys: () => digits.map(({ digit }) => digit).join(''),
    take: (timestamp, data, marker = false, offset = 0) => {
      sequence = (sequence + 1) & 0xffff;
      receiver.packet({ ssrc: 1, sequence, timestamp, marker }, data, offset);
    },
  };
}

const packet = (event: number, end: boolean, duration: number): Uint8Array =>
  Uint8Array.of(event, end ? 0x8a : 0x0a, duration >> 8, duration & 0xff);

describe('embedded: telephone events', () => {
  it('reports a key once, whatever is repeated', () => {
    const { digits, take } = receive();
    for (const duration of [160, 320, 320, 480]) take(1000, packet(5, false, duration));
    for (let i = 0; i < 3; i++) take(1000, packet(5, true, 640));
    expect(digits).to.deep.equal([{ digit: '5', duration: 640 }]);
  });

  it('reports the same key again when it is pressed again', () => {
    const { digits, take } = receive();
    for (const timestamp of [1000, 4000]) take(timestamp, packet(11, true, 800));
    expect(digits.map((d) => d.digit)).to.deep.equal(['#', '#']);
  });

  it('lengthens what is too short to be a key', () => {
    const { digits, take } = receive();
    take(1000, packet(1, true, 80));
    expect(digits[0]?.duration).to.equal(400);
  });

  it('does without end packets: the next key or silence ends the one before', () => {
    const { digits, receiver, take } = receive();
    take(1000, packet(1, false, 480));
    take(3000, packet(2, false, 480));
    expect(digits.map((d) => d.digit)).to.deep.equal(['1']);
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(digits.map((d) => d.digit)).to.deep.equal(['1', '2']);
  });

  it('does not take late packets of a reported key for another press', () => {
    const { digits, receiver, take } = receive();
    take(1000, packet(1, true, 800));
    take(1000, packet(1, false, 640));
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(digits).to.have.length(1);
  });

  it('tells keys apart whose timestamp never advances, by the marker of each first packet', () => {
    const { keys, take } = receive();
    for (const key of [1, 2, 2, 3]) {
      for (const duration of [160, 320, 480]) take(1000, packet(key, false, duration), duration === 160);
      for (let i = 0; i < 3; i++) take(1000, packet(key, true, 640));
    }
    expect(keys()).to.equal('1223');
  });

  it('tells them apart as well when their end packets are lost', () => {
    const { keys, receiver, take } = receive();
    for (const key of [1, 2, 2, 3])
      for (const duration of [160, 320, 480]) take(1000, packet(key, false, duration), duration === 160);
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(keys()).to.equal('1223');
  });

  it('takes end packets whose timestamp has moved on for the end of the same key', () => {
    const { keys, receiver, take } = receive();
    for (const [i, key] of [5, 6, 7, 8, 8].entries()) {
      const timestamp = 1000 + i * 1600;
      for (const duration of [160, 320, 480]) {
        take(timestamp, packet(key, false, duration), duration === 160);
        receiver.tick();
      }
      for (let end = 0; end < 3; end++) {
        take(timestamp + end * 160, packet(key, true, 640 + end * 160));
        receiver.tick();
      }
      for (let frame = 0; frame < 4; frame++) receiver.tick();
    }
    expect(keys()).to.equal('56788');
  });

  it('reports a key of nine seconds once, although its packets come in two segments', () => {
    const { digits, take } = receive();
    for (let duration = 400; duration < 0xffff; duration += 400)
      take(5000, packet(7, false, duration), duration === 400);
    take(5000, packet(7, false, 0xffff));
    for (let duration = 400; duration < 6400; duration += 400)
      take(5000 + 0xffff, packet(7, false, duration));
    for (let i = 0; i < 3; i++) take(5000 + 0xffff, packet(7, true, 6465));
    expect(digits).to.deep.equal([{ digit: '7', duration: 72_000 }]);
  });

  it('hears the same key again whose first packet and marker were lost', () => {
    const { keys, receiver, take } = receive();
    take(1000, packet(4, false, 160), true);
    for (let i = 0; i < 3; i++) take(1000, packet(4, true, 800));
    for (let frame = 0; frame < 4; frame++) receiver.tick();
    take(3000, packet(4, false, 320));
    for (let i = 0; i < 3; i++) take(3000, packet(4, true, 800));
    expect(keys()).to.equal('44');
  });

  it('ignores packets that come twice or late, a first one with its marker among them', () => {
    const { digits, receiver } = receive();
    const header = (sequence: number, marker = false) => ({ ssrc: 7, sequence, timestamp: 1000, marker });
    receiver.packet(header(1, true), packet(1, false, 160), 0);
    receiver.packet(header(3), packet(1, true, 800), 0);
    receiver.packet(header(1, true), packet(1, false, 160), 0);
    receiver.packet(header(2), packet(1, false, 320), 0);
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(digits.map((d) => d.digit)).to.deep.equal(['1']);
    receiver.packet({ ...header(1, true), ssrc: 8 }, packet(1, true, 800), 0);
    expect(digits).to.have.length(2);
  });

  it('survives any packets', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.uint8Array({ maxLength: 8 }), fc.nat(9))), (packets) => {
        const { take } = receive();
        for (const [timestamp, data, offset] of packets) take(timestamp, data, false, offset);
      }),
    );
  });

  it('receives what it sends', () => {
    const sender = new EventSender();
    const keys = '0123456789*#ABCD';
    for (const key of keys) expect(sender.add(key, 800)).to.equal(true);
    const { digits, take } = receive();
    let ends = 0;
    for (let frame = 0; !sender.idle && frame < 5000; frame++) {
      const out = sender.next();
      if (!out) continue;
      ends += Number(out.end);
      expect(out.marker).to.equal(out.age === 0);
      take(frame * 160 - out.age * 160, packet(out.event, out.end, out.duration), out.marker);
    }
    expect(digits).to.deep.equal([...keys].map((digit) => ({ digit, duration: 800 })));
    expect(ends).to.equal(3 * keys.length);
  });

  it('refuses what is no key', () => {
    expect(new EventSender().add('x')).to.equal(false);
    expect(new EventSender().add('')).to.equal(false);
    expect(new EventSender().add('w')).to.equal(true);
  });
});
