import { expect } from 'chai';
import fc from 'fast-check';
import { AudioReceiver } from '../../../freeswitch/embedded/rtp/receiver.ts';

/** A counter as audio: every byte is one more than the one before. */
class Talker {
  #next = 0;
  #sequence = 65_530;
  packet(length: number): { sequence: number; data: Buffer } {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    return { sequence: this.#sequence, data: Buffer.from(Array.from({ length }, () => this.#next++ & 0xff)) };
  }
}

function give(receiver: AudioReceiver, { sequence, data }: { sequence: number; data: Buffer }): void {
  receiver.packet(sequence, data, 0, data.length);
}

describe('embedded: audio that comes in', () => {
  it('comes out in whole frames, in order, whatever the packets are like', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(80, 160, 240, 320, 480),
        fc.integer({ min: 30, max: 200 }),
        (length, frames) => {
          const receiver = new AudioReceiver();
          const talker = new Talker();
          const heard: number[] = [];
          let owed = 0;
          for (let n = 1; n <= frames; n++) {
            for (owed += 160; owed >= length; owed -= length) give(receiver, talker.packet(length));
            const frame = receiver.frame(n);
            if (frame) heard.push(...frame);
          }
          expect(heard.length).to.be.above((frames - 8) * 160);
          expect(heard.every((byte, i) => byte === (i & 0xff))).to.equal(true);
        },
      ),
    );
  });

  it('is the same for all who ask in one moment', () => {
    const receiver = new AudioReceiver();
    const talker = new Talker();
    for (let i = 0; i < 3; i++) give(receiver, talker.packet(160));
    const first = Buffer.from(receiver.frame(1) ?? []);
    expect(receiver.frame(1)).to.deep.equal(first);
    receiver.advance(2);
    expect(receiver.frame(2)?.[0]).to.equal(160);
  });

  it('is silence when nothing came, and goes on when something comes', () => {
    const receiver = new AudioReceiver();
    const talker = new Talker();
    expect(receiver.frame(1)).to.equal(undefined);
    for (let i = 0; i < 2; i++) give(receiver, talker.packet(160));
    expect(
      [receiver.frame(2), receiver.frame(3), receiver.frame(4)].map((frame) => frame !== undefined),
    ).to.deep.equal([true, true, false]);
    for (let i = 0; i < 2; i++) give(receiver, talker.packet(160));
    expect(receiver.frame(5)?.[0]).to.equal(320 & 0xff);
  });

  it('leaves out what was overtaken or came twice', () => {
    const receiver = new AudioReceiver();
    const talker = new Talker();
    const packets = Array.from({ length: 4 }, () => talker.packet(160));
    for (const i of [0, 2, 1, 2, 3]) give(receiver, packets[i] ?? talker.packet(160));
    expect([1, 2, 3].map((n) => receiver.frame(n)?.[0])).to.deep.equal([0, 320 & 0xff, 480 & 0xff]);
    expect(receiver.frame(4)).to.equal(undefined);
  });

  it('does not let delay grow: of a burst the latest is kept', () => {
    const receiver = new AudioReceiver();
    const talker = new Talker();
    for (let i = 0; i < 100; i++) give(receiver, talker.packet(160));
    let frames = 0;
    while (receiver.frame(frames + 1)) frames++;
    expect(frames).to.be.at.most(8);
  });

  it('survives any packets', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(65_535), fc.uint8Array({ maxLength: 2000 }), fc.nat(3))),
        (packets) => {
          const receiver = new AudioReceiver();
          let n = 0;
          for (const [sequence, data, frames] of packets) {
            receiver.packet(sequence, Buffer.from(data), 0, data.length);
            for (let i = 0; i < frames; i++) expect(receiver.frame(++n)?.length ?? 160).to.equal(160);
          }
        },
      ),
    );
  });
});
