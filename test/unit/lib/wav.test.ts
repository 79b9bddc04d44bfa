import { expect } from 'chai';
import fc from 'fast-check';
import { resample } from '../../../control/lib/resample.ts';
import { readWav, WavError, writeWav } from '../../../control/lib/wav.ts';
import { decode } from '../../../cli/phone/codec.ts';
import { readWav as readIndependently } from '../../../cli/phone/wav.ts';

/** A WAV file of any kind, by hand. */
function wav(
  format: { code?: number; channels?: number; rate?: number; bits?: number; sub?: number },
  data: Buffer,
  options: { dataSize?: number; before?: Buffer } = {},
): Buffer {
  const { code = 1, channels = 1, rate = 8000, bits = 16, sub } = format;
  const fmt = Buffer.alloc(sub === undefined ? 16 : 40);
  fmt.writeUInt16LE(code, 0);
  fmt.writeUInt16LE(channels, 2);
  fmt.writeUInt32LE(rate, 4);
  fmt.writeUInt16LE(((channels * bits) / 8) & 0xffff, 12);
  fmt.writeUInt16LE(bits, 14);
  if (sub !== undefined) fmt.writeUInt16LE(sub, 24);
  const chunk = (id: string, body: Buffer, size = body.length): Buffer => {
    const head = Buffer.alloc(8);
    head.write(id, 'latin1');
    head.writeUInt32LE(size, 4);
    return Buffer.concat([head, body, Buffer.alloc(body.length & 1)]);
  };
  const chunks = Buffer.concat([
    options.before ?? Buffer.alloc(0),
    chunk('fmt ', fmt),
    chunk('LIST', Buffer.from('odd')),
    chunk('data', data, options.dataSize),
  ]);
  const head = Buffer.from('RIFF....WAVE', 'latin1');
  head.writeUInt32LE(4 + chunks.length, 4);
  return Buffer.concat([head, chunks]);
}

const samplesOf = (file: Buffer): number[] => [...readWav(file).samples];

describe('WAV files', () => {
  it('come back as they were written, and others read them too', () => {
    const samples = Int16Array.from([0, 1, -1, 32_767, -32_768, 1234]);
    const file = writeWav({ rate: 8000, samples });
    expect(readWav(file)).to.deep.equal({ rate: 8000, samples });
    expect(readIndependently(file)).to.deep.equal({ rate: 8000, samples });
  });

  it('are read in every width', () => {
    expect(samplesOf(wav({ bits: 8 }, Buffer.from([0, 128, 255])))).to.deep.equal([-32_768, 0, 32_512]);
    expect(samplesOf(wav({ bits: 24 }, Buffer.from([0, 0, 0x80, 0xff, 0xff, 0x7f])))).to.deep.equal([
      -32_768, 32_767,
    ]);
    expect(samplesOf(wav({ bits: 32 }, Buffer.from([0, 0, 0, 0x80, 0, 0, 1, 0])))).to.deep.equal([
      -32_768, 1,
    ]);
    const floats = Buffer.alloc(16);
    [1, -2, 0.5, NaN].forEach((value, i) => floats.writeFloatLE(value, 4 * i));
    expect(samplesOf(wav({ code: 3, bits: 32 }, floats))).to.deep.equal([32_767, -32_768, 16_384, 0]);
    expect(samplesOf(wav({ code: 0xfffe, sub: 1 }, Buffer.from([1, 0, 2, 0])))).to.deep.equal([1, 2]);
  });

  it('of G.711 are read as somebody else reads them', () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(samplesOf(wav({ code: 6, bits: 8 }, Buffer.from(bytes)))).to.deep.equal([
      ...decode('PCMA', bytes),
    ]);
    expect(samplesOf(wav({ code: 7, bits: 8 }, Buffer.from(bytes)))).to.deep.equal([
      ...decode('PCMU', bytes),
    ]);
  });

  it('of several channels are mixed', () => {
    const data = Buffer.alloc(8);
    [100, 300, -32_768, -32_768].forEach((value, i) => data.writeInt16LE(value, 2 * i));
    expect(samplesOf(wav({ channels: 2 }, data))).to.deep.equal([200, -32_768]);
  });

  it('that were written to a pipe end where the file ends', () => {
    const file = wav({}, Buffer.from([1, 0, 2, 0, 9]), { dataSize: 0x7ffff000 });
    expect(samplesOf(file.subarray(0, file.length - 1))).to.deep.equal([1, 2]);
  });

  it('of other kinds, and what is no WAV file, are refused with the reason', () => {
    const refusals: [Buffer, string][] = [
      [Buffer.from('ID3 not a wav file at all'), 'not a WAV file'],
      [Buffer.alloc(0), 'not a WAV file'],
      [wav({}, Buffer.alloc(4)).subarray(0, 30), 'cut off'],
      [wav({}, Buffer.alloc(4)).subarray(0, 46), 'without audio'],
      [wav({ code: 85 }, Buffer.alloc(4)), 'format 85'],
      [wav({ channels: 0 }, Buffer.alloc(4)), '0 channels'],
      [wav({ channels: 65_535 }, Buffer.alloc(4)), '65535 channels'],
      [wav({ rate: 1 }, Buffer.alloc(4)), '1 samples a second'],
      [wav({ bits: 12 }, Buffer.alloc(4)), '12 bits'],
    ];
    for (const [file, reason] of refusals) expect(() => readWav(file), reason).to.throw(WavError, reason);
  });

  it('never do anything else than be read or be refused', () => {
    const good = wav({}, Buffer.alloc(40));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(good.length),
        (changes, length) => {
          const bad = Buffer.from(good.subarray(0, length));
          for (const [at, value] of changes) if (at < bad.length) bad[at] = value;
          try {
            readWav(bad);
          } catch (error) {
            expect(error).to.be.instanceOf(WavError);
          }
        },
      ),
    );
  });
});

describe('resampling', () => {
  const sine = (rate: number, frequency: number, seconds = 1, amplitude = 10_000): Int16Array =>
    Int16Array.from({ length: rate * seconds }, (_, i) =>
      Math.round(amplitude * Math.sin((2 * Math.PI * frequency * i) / rate)),
    );
  const level = (samples: Int16Array): number => {
    const inner = samples.subarray(500, samples.length - 500); // The filter runs in and out at the ends.
    return Math.sqrt(inner.reduce((sum, sample) => sum + sample * sample, 0) / inner.length);
  };

  for (const rate of [8001, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000, 6000]) {
    it(`keeps a tone as it is, from ${rate} to 8000`, async () => {
      const result = await resample({ rate, samples: sine(rate, 1000) }, 8000);
      expect(result.rate).to.equal(8000);
      expect(result.samples.length).to.equal(8000);
      const wanted = sine(8000, 1000);
      const error = Int16Array.from(result.samples, (sample, i) => sample - (wanted[i] ?? 0));
      expect(level(error)).to.be.below(30);
    });
  }

  it('takes away what a telephone cannot carry, instead of folding it back', async () => {
    for (const frequency of [4300, 5000, 7000, 10_000]) {
      const { samples } = await resample({ rate: 22_050, samples: sine(22_050, frequency) }, 8000);
      expect(level(samples), `${frequency} Hz`).to.be.below(10);
    }
  });

  it('passes all of the telephone band', async () => {
    for (const frequency of [100, 300, 2000, 3300]) {
      const { samples } = await resample({ rate: 22_050, samples: sine(22_050, frequency) }, 8000);
      expect(level(samples) / level(sine(8000, frequency)), `${frequency} Hz`).to.be.within(0.9, 1.1);
    }
  });

  it('leaves audio of the right rate alone', async () => {
    const audio = { rate: 8000, samples: sine(8000, 440) };
    expect(await resample(audio, 8000)).to.equal(audio);
  });

  it('does not keep calls waiting while it works', async () => {
    let turns = 0;
    const ticking = setInterval(() => turns++, 1);
    await resample({ rate: 44_100, samples: new Int16Array(44_100 * 30) }, 8000);
    clearInterval(ticking);
    expect(turns).to.be.above(2);
  });
});
