import { expect } from 'chai';
import fc from 'fast-check';
import { MULAW_SILENCE, toMulaw, MULAW, ALAW, ALAW_TO_MULAW } from '../../../control/lib/g711.ts';
import { parseRtp, RtpWriter } from '../../../control/streams/rtp.ts';
import { FRAME, Track } from '../../../control/streams/track.ts';
import { decode, encode } from '../../../cli/phone/codec.ts';

/** Packet n of a sender that counts its packets in its audio: no two neighbours are alike. */
const packet = (n: number, more: { ssrc?: number; payloadType?: number; from?: number } = {}) => ({
  payloadType: more.payloadType ?? 0,
  ssrc: more.ssrc ?? 1,
  timestamp: ((more.from ?? 0) + n * FRAME) >>> 0,
  payload: Buffer.alloc(FRAME, 1 + (n % 100)),
});
const isSilence = (frame: Buffer): boolean => frame.every((byte) => byte === MULAW_SILENCE);
/** The numbers of the packets that the next frames hold; 0 for silence. */
const take = (track: Track, frames: number): number[] =>
  Array.from({ length: frames }, () => {
    const frame = track.take();
    return isSilence(frame) ? 0 : (frame[0] ?? 0) - 1;
  });

describe('a track of a call', () => {
  it('is silent for 60 ms and then plays packets in their order, one every 20 ms', () => {
    const track = new Track();
    const heard: number[] = [];
    for (let n = 1; n <= 20; n++) {
      track.push(packet(n));
      heard.push(...take(track, 1));
    }
    expect(heard).to.deep.equal([0, 0, 0, ...Array.from({ length: 17 }, (_, i) => i + 1)]);
  });

  it('puts packets that have changed places where they belong, and drops doubles', () => {
    const track = new Track();
    for (const n of [1, 3, 2, 2, 5, 4]) track.push(packet(n));
    expect(take(track, 8)).to.deep.equal([0, 0, 0, 1, 2, 3, 4, 5]);
  });

  it('keeps the time of what is lost as silence', () => {
    const track = new Track();
    for (const n of [1, 2, 6]) track.push(packet(n));
    expect(take(track, 9)).to.deep.equal([0, 0, 0, 1, 2, 0, 0, 0, 6]);
  });

  it('goes on when the sender begins anew, with another source or after a pause, and over the end of its clock', () => {
    const track = new Track();
    const from = 2 ** 32 - 2 * FRAME;
    for (const n of [0, 1, 2, 3]) track.push(packet(n, { from }));
    expect(take(track, 7)).to.deep.equal([0, 0, 0, 0, 1, 2, 3].map((n, i) => (i < 3 ? 0 : n)));
    track.push(packet(50, { ssrc: 2, from: 7 }));
    expect(take(track, 4)).to.deep.equal([0, 0, 0, 50]);
    take(track, 300);
    for (const n of [51, 52, 53, 54]) track.push(packet(n, { ssrc: 2, from: 7 }));
    expect(take(track, 7)).to.deep.equal([0, 0, 0, 51, 52, 53, 54]);
  });

  it('does not let a backlog grow: a burst after a stall is cut to 60 ms', () => {
    const track = new Track();
    for (let n = 1; n <= 40; n++) track.push(packet(n));
    expect(take(track, 20).filter((n) => n > 0).length).to.be.below(12);
  });

  it('gives up what a faster clock is ahead, a frame at a time', () => {
    const track = new Track();
    let sent = 0;
    for (let n = 0; n < 8; n++) track.push(packet(++sent));
    for (let i = 0; i < 3000; i++) {
      track.push(packet(++sent));
      track.take();
    }
    const last = track.take();
    expect((sent % 100) - ((last[0] ?? 0) - 1)).to.be.below(8);
  });

  it('takes A-law as µ-law, and no telephone events', () => {
    const track = new Track();
    const samples = Int16Array.from({ length: FRAME }, (_, i) => 6000 * Math.sin(i / 5));
    track.push({ payloadType: 8, ssrc: 1, timestamp: 0, payload: encode('PCMA', samples) });
    track.push({ payloadType: 101, ssrc: 1, timestamp: FRAME, payload: Buffer.from([1, 0, 0, 160]) });
    take(track, 3);
    const heard = decode('PCMU', track.take());
    for (const [i, sample] of samples.entries()) expect(Math.abs((heard[i] ?? 0) - sample)).to.be.below(400);
    expect(isSilence(track.take())).to.equal(true);
  });

  it('whatever comes, gives a whole frame each time', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            payloadType: fc.constantFrom(0, 8, 101),
            ssrc: fc.integer({ min: 0, max: 2 }),
            timestamp: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
            payload: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
          }),
        ),
        (packets) => {
          const track = new Track();
          for (const each of packets) {
            track.push(each);
            expect(track.take().length).to.equal(FRAME);
          }
        },
      ),
    );
  });
});

describe('RTP of streams', () => {
  it('reads what it writes, and no RTCP, no garbage', () => {
    const writer = new RtpWriter();
    const [first, second] = [
      writer.packet(Buffer.alloc(FRAME, 5), 0, true),
      writer.packet(Buffer.alloc(FRAME, 6), FRAME, false),
    ].map((bytes) => parseRtp(bytes));
    expect(second?.payload).to.deep.equal(Buffer.alloc(FRAME, 6));
    expect(((second?.timestamp ?? 0) - (first?.timestamp ?? 0)) >>> 0).to.equal(FRAME);
    expect(second?.ssrc).to.equal(first?.ssrc);
    expect(parseRtp(Buffer.from([0x80, 200, ...new Array<number>(20).fill(0)]))).to.equal(undefined);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        const read = parseRtp(Buffer.from(bytes));
        expect(read === undefined || read.payload.length <= bytes.length - 12).to.equal(true);
      }),
    );
  });

  it('its µ-law is that of others', () => {
    for (let sample = -32768; sample <= 32767; sample += 7)
      expect(MULAW[toMulaw(sample)]).to.equal(decode('PCMU', encode('PCMU', Int16Array.of(sample)))[0]);
    for (let byte = 0; byte < 256; byte++)
      expect(Math.abs((MULAW[ALAW_TO_MULAW[byte] ?? 0] ?? 0) - (ALAW[byte] ?? 0))).to.be.at.most(
        Math.max(16, Math.abs(ALAW[byte] ?? 0) / 16),
      );
  });
});
