import { expect } from 'chai';
import { MULAW } from '../../../control/lib/g711.ts';
import { Playback } from '../../../control/streams/playback.ts';
import { FRAME } from '../../../control/streams/track.ts';
import { Voice } from '../../../control/streams/voice.ts';
import { parseRtp } from '../../../control/streams/rtp.ts';

/** So many turns of 20 ms: what was played in each, and which marks came back. */
function turns(playback: Playback, count: number): { bytes: number[]; marks: string[][] } {
  const bytes: number[] = [];
  const marks: string[][] = [];
  for (let i = 0; i < count; i++) {
    bytes.push(playback.take()?.[0] ?? -1);
    marks.push(playback.passed());
  }
  return { bytes, marks };
}

describe('what a receiver wants to be played', () => {
  it('waits for 60 ms of it, or that long, before it begins', () => {
    const playback = new Playback();
    playback.add(Buffer.alloc(FRAME, 1));
    expect(turns(playback, 5).bytes).to.deep.equal([-1, -1, -1, 1, -1]);
    playback.add(Buffer.alloc(3 * FRAME, 2));
    expect(turns(playback, 4).bytes).to.deep.equal([2, 2, 2, -1]);
  });

  it('makes frames of whatever lengths come, and fills up the last', () => {
    const playback = new Playback();
    for (let i = 0; i < 10; i++) playback.add(Buffer.alloc(50, 7));
    const frames = Array.from({ length: 8 }, () => playback.take()).filter((frame) => frame !== undefined);
    expect(frames.map((frame) => frame.filter((byte) => byte === 7).length)).to.deep.equal([
      160, 160, 160, 20,
    ]);
  });

  it('gives marks back in order, each once what was before it has been heard', () => {
    const playback = new Playback();
    playback.mark('at once');
    playback.add(Buffer.alloc(3 * FRAME, 1));
    playback.mark('first');
    playback.mark('with it');
    playback.add(Buffer.alloc(2 * FRAME, 2));
    playback.mark('second');
    const { bytes, marks } = turns(playback, 9);
    expect(bytes).to.deep.equal([1, 1, 1, 2, 2, -1, -1, -1, -1]);
    expect(marks).to.deep.equal([['at once'], [], [], [], [], ['first', 'with it'], [], ['second'], []]);
  });

  it('gives its marks back when it is cleared, and plays what comes after', () => {
    const playback = new Playback();
    playback.add(Buffer.alloc(50 * FRAME, 1));
    playback.mark('a');
    turns(playback, 2);
    expect(playback.clear()).to.deep.equal(['a']);
    expect(turns(playback, 2)).to.deep.equal({ bytes: [-1, -1], marks: [[], []] });
    playback.add(Buffer.alloc(3 * FRAME, 2));
    playback.mark('b');
    expect(turns(playback, 6)).to.deep.equal({
      bytes: [2, 2, 2, -1, -1, -1],
      marks: [[], [], [], [], [], ['b']],
    });
  });

  it('holds two minutes and a thousand marks, and no more', () => {
    const playback = new Playback();
    let held = 0;
    while (playback.add(Buffer.alloc(8000))) held++;
    expect(held).to.equal(120);
    let marks = 0;
    while (playback.mark('m')) marks++;
    expect(marks).to.equal(1000);
  });
});

describe("the receivers' voice", () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const line = (more: Partial<ConstructorParameters<typeof Voice>[0]> = {}) => {
    const log: string[] = [];
    const sent: Buffer[] = [];
    return {
      log,
      sent,
      voice: new Voice({
        connect: () => Promise.resolve(void log.push('connect')),
        block: (blocked) => Promise.resolve(void log.push(blocked ? 'block' : 'unblock')),
        send: (packet) => sent.push(packet),
        failed: (error) => log.push(`failed: ${String(error)}`),
        ...more,
      }),
    };
  };

  it('takes the place of the media node for a burst, and gives it back 200 ms after its end', async () => {
    const { voice, log, sent } = line();
    expect(voice.taking).to.equal(false);
    voice.want();
    await turn();
    expect(voice.taking).to.equal(true);
    const frame = Buffer.alloc(FRAME, 3);
    expect(voice.tick([frame])).to.deep.equal(frame);
    for (let i = 0; i < 10; i++) voice.tick([]);
    expect(log).to.deep.equal(['connect', 'block']);
    expect(voice.tick([])).to.equal(undefined);
    expect(log).to.deep.equal(['connect', 'block', 'unblock']);
    expect(
      sent.map((packet) => packet.readUInt8(1) >> 7),
      'markers',
    ).to.deep.equal([1, ...new Array<number>(10).fill(0)]);
    expect(parseRtp(sent[0] ?? Buffer.alloc(0))?.payload).to.deep.equal(frame);
  });

  it('is the sum of those who talk at once', async () => {
    const { voice } = line();
    voice.want();
    await turn();
    const heard = voice.tick([Buffer.alloc(FRAME, 0xa0), Buffer.alloc(FRAME, 0xa0)]);
    expect(Math.abs((MULAW[heard?.[0] ?? 0] ?? 0) - 2 * (MULAW[0xa0] ?? 0))).to.be.below(300);
  });

  it('that cannot be had takes what is said to nowhere, and is tried again after 5 s', async () => {
    let tries = 0;
    const { voice, log, sent } = line({ connect: () => Promise.reject(new Error(`no ${++tries}`)) });
    voice.want();
    await turn();
    expect(log).to.deep.equal(['failed: Error: no 1']);
    expect(voice.taking).to.equal(true);
    for (let i = 0; i < 251; i++) voice.tick([Buffer.alloc(FRAME)]);
    expect(sent).to.have.length(0);
    voice.want();
    await turn();
    expect(tries).to.equal(2);
  });
});
