import { expect } from 'chai';
import fc from 'fast-check';
import { EventReceiver, EventSender, type Digit } from '../../../freeswitch/embedded/rtp/telephone-event.ts';

function receive(): { digits: Digit[]; receiver: EventReceiver } {
  const digits: Digit[] = [];
  return { digits, receiver: new EventReceiver((digit) => digits.push(digit)) };
}

const packet = (event: number, end: boolean, duration: number): Uint8Array => Uint8Array.of(event, end ? 0x8a : 0x0a, duration >> 8, duration & 0xff);

describe('embedded: telephone events', () => {
  it('reports a key once, whatever is repeated', () => {
    const { digits, receiver } = receive();
    for (const duration of [160, 320, 320, 480]) receiver.packet(1000, packet(5, false, duration), 0);
    for (let i = 0; i < 3; i++) receiver.packet(1000, packet(5, true, 640), 0);
    expect(digits).to.deep.equal([{ digit: '5', duration: 640 }]);
  });

  it('reports the same key again when it is pressed again', () => {
    const { digits, receiver } = receive();
    for (const timestamp of [1000, 4000]) receiver.packet(timestamp, packet(11, true, 800), 0);
    expect(digits.map((d) => d.digit)).to.deep.equal(['#', '#']);
  });

  it('lengthens what is too short to be a key', () => {
    const { digits, receiver } = receive();
    receiver.packet(1000, packet(1, true, 80), 0);
    expect(digits[0]?.duration).to.equal(400);
  });

  it('does without end packets: the next key or silence ends the one before', () => {
    const { digits, receiver } = receive();
    receiver.packet(1000, packet(1, false, 480), 0);
    receiver.packet(3000, packet(2, false, 480), 0);
    expect(digits.map((d) => d.digit)).to.deep.equal(['1']);
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(digits.map((d) => d.digit)).to.deep.equal(['1', '2']);
  });

  it('does not take late packets of a reported key for another press', () => {
    const { digits, receiver } = receive();
    receiver.packet(1000, packet(1, true, 800), 0);
    receiver.packet(1000, packet(1, false, 640), 0);
    for (let i = 0; i < 20; i++) receiver.tick();
    expect(digits).to.have.length(1);
  });

  it('survives any packets', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(5), fc.uint8Array({ maxLength: 8 }), fc.nat(9))), (packets) => {
      const { receiver } = receive();
      for (const [timestamp, data, offset] of packets) receiver.packet(timestamp, data, offset);
    }));
  });

  it('receives what it sends', () => {
    const sender = new EventSender();
    const keys = '0123456789*#ABCD';
    for (const key of keys) expect(sender.add(key, 800)).to.equal(true);
    const { digits, receiver } = receive();
    let ends = 0;
    for (let frame = 0; !sender.idle && frame < 5000; frame++) {
      const out = sender.next();
      if (!out) continue;
      ends += Number(out.end);
      expect(out.marker).to.equal(out.age === 0);
      receiver.packet(frame * 160 - out.age * 160, packet(out.event, out.end, out.duration), 0);
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
