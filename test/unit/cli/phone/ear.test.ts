import { expect } from 'chai';
import { decode, encode } from '../../../../cli/phone/codec.ts';
import { Heard } from '../../../../cli/phone/ear.ts';
import { recognise } from '../../../../cli/phone/recognise.ts';
import { spoken } from '../../../../cli/phone/voice.ts';
import { readWav, toTelephone, writeWav } from '../../../../cli/phone/wav.ts';

/** The same noise in every run (a linear congruential generator). */
function noise(length: number, amplitude: number): Int16Array {
  let state = 1;
  return Int16Array.from({ length }, () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return Math.round((state / 2 ** 31 - 1) * amplitude);
  });
}

const sine = (frequency: number, ms: number, amplitude = 8000): Int16Array =>
  Int16Array.from({ length: ms * 8 }, (_, n) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * frequency * n) / 8000)),
  );

function joined(...parts: (Int16Array | number)[]): Int16Array {
  return Int16Array.from(
    parts.flatMap((part) => [...(typeof part === 'number' ? new Int16Array(part * 8) : part)]),
  );
}

/** As a caller would have it: 20 ms packets through G.711. */
function heardAs(samples: Int16Array, codec: 'PCMU' | 'PCMA' = 'PCMU', heard = new Heard(), from = 0): Heard {
  for (let at = 0; at + 160 <= samples.length; at += 160) {
    heard.add(
      decode(codec, encode(codec, samples.subarray(at, at + 160))),
      { ssrc: 1, timestamp: from + at },
      (from + at) / 8,
    );
  }
  return heard;
}

describe('cli/phone/ear', () => {
  const sentences = [
    'Welcome to Mini Voice.',
    'You have reached the sales team.',
    'You have reached the support team.',
    'Press one for sales.',
    'Press two for sales.',
    'You pressed one.',
    'You pressed five.',
    'Goodbye.',
  ];

  it('knows each sentence through G.711, attenuation, noise and any delay, and takes none for another', async () => {
    const references = await Promise.all(sentences.map((sentence) => spoken(sentence)));
    for (const [i, said] of references.entries()) {
      // An odd delay that is not a multiple of a packet, and a third of the loudness.
      const hiss = noise(said.length, 60);
      const quieter = joined(
        new Int16Array(6001 + 7 * i),
        said.map((sample, n) => sample * 0.33 + (hiss[n] ?? 0)),
        500,
      );
      const heard = heardAs(quieter, i % 2 ? 'PCMU' : 'PCMA');
      for (const [j, reference] of references.entries()) {
        const { fraction, startMs } = heard.recognises(reference);
        if (i === j) {
          expect(fraction, `"${sentences[i]}" in itself`).to.be.at.least(0.9);
          expect(startMs).to.be.closeTo((6001 + 7 * i) / 8, 2);
        } else expect(fraction, `"${sentences[j]}" in "${sentences[i]}"`).to.be.below(0.85);
      }
    }
  });

  it('tells how much of an interrupted prompt was heard', async () => {
    const said = await spoken('Please listen carefully, because our options have changed since yesterday.');
    for (const share of [0.25, 0.5, 0.75]) {
      const { fraction, heardUntilMs } = heardAs(
        joined(300, said.subarray(0, said.length * share), 2000),
      ).recognises(said);
      expect(fraction).to.be.closeTo(share, 0.13);
      // Pauses between the words do not count as heard.
      expect(heardUntilMs).to.be.within((said.length / 8) * share - 400, (said.length / 8) * share + 100);
    }
  });

  it('recognises the end of a prompt whose beginning is missing', async () => {
    const said = await spoken('Please listen carefully, because our options have changed since yesterday.');
    const { fraction, startMs } = heardAs(joined(said.subarray(said.length / 2), 500)).recognises(said);
    expect(fraction).to.be.closeTo(0.5, 0.13);
    expect(startMs).to.be.closeTo(-said.length / 16, 5);
  });

  it('recognises a prompt that slips by a packet on the way', async () => {
    const said = await spoken('Please listen carefully, because our options have changed since yesterday.');
    const third = Math.floor(said.length / 3);
    const slipped = joined(
      said.subarray(0, third),
      20,
      said.subarray(third, 2 * third),
      20,
      said.subarray(2 * third),
      100,
    );
    expect(heardAs(slipped).recognises(said).fraction).to.be.at.least(0.85);
  });

  it('hears no prompt in silence, in noise and in a tone', async () => {
    const said = await spoken('Welcome to Mini Voice.');
    for (const other of [new Int16Array(32000), noise(32000, 8000), sine(440, 4000)]) {
      expect(heardAs(other).recognises(said).fraction).to.be.below(0.15);
    }
  });

  it('counts how often a prompt was heard', async () => {
    const said = await spoken('Welcome to Mini Voice.');
    const other = await spoken('Goodbye.');
    const starts = heardAs(joined(100, said, 700, other, said, 900))
      .occurrences(said)
      .map(({ startMs }) => Math.round(startMs));
    expect(starts).to.have.lengthOf(2);
    expect(starts[0]).to.be.closeTo(100, 2);
    expect(starts[1]).to.be.closeTo(800 + (said.length + other.length) / 8, 2);
  });

  it('says live when a prompt, or a part of it, has been heard', async () => {
    const said = await spoken('Please listen carefully, because our options have changed since yesterday.');
    const heard = heardAs(new Int16Array(8000));
    const early = heard.waitUntilHears(said, { fraction: 0.3 });
    const whole = heard.waitUntilHears(said);
    const reached: string[] = [];
    const noted = Promise.all([
      early.then(() => reached.push('part')),
      whole.then(() => reached.push('whole')),
    ]);
    const half = Math.floor(said.length / 320) * 160;
    heardAs(said.subarray(0, half), 'PCMU', heard, 8000);
    await early;
    expect(reached).to.deep.equal(['part']);
    heardAs(joined(said.subarray(half), 1000), 'PCMU', heard, 8000 + half);
    expect((await whole).startMs).to.be.closeTo(1000, 2);
    await noted;
  });

  it('gives up waiting with a word on what was heard', async () => {
    const said = await spoken('Welcome to Mini Voice.');
    const heard = heardAs(joined(said.subarray(0, said.length / 2), 1000));
    const outcome = await heard
      .waitUntilHears(said, { timeoutMs: 20 })
      .catch((error: unknown) => String(error));
    expect(outcome).to.match(/0\.9 of a prompt of \d+ ms, heard 0\.[4-8]\d* of it/);
  });

  it('tells tones apart and how long each sounded', () => {
    const heard = heardAs(joined(sine(440, 1000), sine(620, 500), 500));
    expect(heard.tone(440)).to.be.closeTo(0.5, 0.02);
    expect(heard.tone(620)).to.be.closeTo(0.25, 0.02);
    expect(heard.tone(1000)).to.equal(0);
    expect(heardAs(noise(16000, 8000)).tone(440)).to.be.below(0.05);
  });

  it('knows silence from faint sound', () => {
    const heard = heardAs(joined(500, sine(440, 500, 200), 500), 'PCMA');
    expect(heard.silence(0, 480)).to.equal(true);
    expect(heard.silence(500, 1000)).to.equal(false);
    expect(heard.silence(1020)).to.equal(true);
  });

  it('keeps the clock over lost packets, new sources and pauses, and reports the gaps', () => {
    const heard = new Heard();
    const click = new Int16Array(160).fill(10_000);
    heard.add(click, { ssrc: 1, timestamp: 4_294_967_200 }, 5000);
    // The timestamp wraps; 40 ms are lost.
    heard.add(click, { ssrc: 1, timestamp: (4_294_967_200 + 480) % 2 ** 32 }, 5061);
    // Another source 500 ms later, with a timestamp of its own.
    heard.add(click, { ssrc: 2, timestamp: 77 }, 5561);
    // The same one after a pause of 3 s in which its timestamp stood still.
    heard.add(click, { ssrc: 2, timestamp: 237 }, 8561);
    const loud = Array.from({ length: heard.durationMs / 20 }, (_, i) => i * 20).filter(
      (ms) => heard.loudest(ms, ms + 20) > 5000,
    );
    expect(loud).to.deep.equal([0, 60, 560, 3560]);
    expect(heard.gaps(100)).to.deep.equal([
      { fromMs: 61, toMs: 561 },
      { fromMs: 561, toMs: 3561 },
    ]);
  });

  it('reads and writes WAV files, and resamples without losing the tone or letting through what is too high', () => {
    const at = (frequency: number): Int16Array =>
      Int16Array.from({ length: 22050 }, (_, n) =>
        Math.round(8000 * Math.sin((2 * Math.PI * frequency * n) / 22050)),
      );
    const low = readWav(writeWav({ rate: 22050, samples: at(1000) }));
    expect(low.rate).to.equal(22050);
    const telephone = toTelephone(low);
    expect(telephone).to.have.lengthOf(8000);
    expect(heardAs(telephone).tone(1000)).to.be.above(0.98);
    expect(heardAs(toTelephone({ rate: 22050, samples: at(5000) })).silence(40, 960)).to.equal(true);
  });

  it('refuses a silent reference instead of finding it everywhere', () => {
    expect(() => recognise(noise(8000, 5000), new Int16Array(8000))).to.throw('silent');
  });
});
