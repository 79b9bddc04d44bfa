import { expect } from 'chai';
import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MediaLibrary, SourceNotFound } from '../../../freeswitch/embedded/media/library.ts';
import { generateMusic, generateTones } from '../../../freeswitch/embedded/media/tones.ts';
import { readWav, resample, WavError } from '../../../freeswitch/embedded/media/wav.ts';
import type { AudioSource } from '../../../freeswitch/embedded/rtp/session.ts';
import { decode } from '../../../freeswitch/embedded/rtp/g711.ts';

function wav(
  samples: readonly number[],
  options: { rate?: number; channels?: number; bits?: number; tag?: number } = {},
): Buffer {
  const { rate = 8000, channels = 1, bits = 16, tag = 1 } = options;
  const bytes = bits / 8;
  const file = Buffer.alloc(44 + samples.length * bytes);
  file.write('RIFF', 0);
  file.writeUInt32LE(36 + samples.length * bytes, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(tag, 20);
  file.writeUInt16LE(channels, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(rate * channels * bytes, 28);
  file.writeUInt16LE(channels * bytes, 32);
  file.writeUInt16LE(bits, 34);
  file.write('data', 36);
  file.writeUInt32LE(samples.length * bytes, 40);
  for (const [i, sample] of samples.entries()) {
    if (bits === 8) file[44 + i] = sample;
    else file.writeInt16LE(sample, 44 + i * bytes + bytes - 2);
  }
  return file;
}

/** Everything a source has to give, up to a limit of frames. */
function drain(source: AudioSource, frames: number = 10_000): number[] {
  const all: number[] = [];
  const frame = Buffer.alloc(160);
  for (let i = 0; i < frames; i++) {
    const written = source.read(frame, 0);
    if (written === 0) break;
    all.push(...decode('PCMU', frame.subarray(0, written)));
  }
  return all;
}

describe('embedded: WAV files', () => {
  it('reads 16-bit mono as it is', () => {
    expect([...readWav(wav([1, -2, 32_767, -32_768]))]).to.deep.equal([1, -2, 32_767, -32_768]);
  });

  it('mixes channels and widens 8-bit samples', () => {
    expect([...readWav(wav([100, 300, -100, -300], { channels: 2 }))]).to.deep.equal([200, -200]);
    expect([...readWav(wav([128, 255, 0], { bits: 8 }))]).to.deep.equal([0, 127 << 8, -32_768]);
    expect([...readWav(wav([5, -5], { bits: 24 }))]).to.deep.equal([5, -5]);
  });

  it('brings other rates to 8 kHz without changing how long they last', () => {
    expect(readWav(wav(new Array(4410).fill(0), { rate: 44_100 }))).to.have.length(800);
    expect(readWav(wav(new Array(1600).fill(0), { rate: 16_000 }))).to.have.length(800);
    expect([...resample(Int16Array.of(0, 100, 200), 4000, 8000)]).to.deep.equal([0, 50, 100, 150, 200, 200]);
    expect([...resample(Int16Array.of(10, 30, 50, 70), 16_000, 8000)]).to.deep.equal([20, 60]);
  });

  it('says so when it cannot', () => {
    for (const bad of [
      Buffer.from('hello'),
      wav([1], { tag: 85 }),
      wav([1], { channels: 0 }),
      wav([]).subarray(0, 36),
    ]) {
      expect(() => readWav(bad)).to.throw(WavError);
    }
  });

  it('survives any damage', () => {
    const good = wav([1, 2, 3, 4, 5, 6, 7, 8], { channels: 2 });
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, insert) => {
        const bad = Buffer.concat([
          good.subarray(0, at),
          Buffer.from(insert),
          good.subarray(at + insert.length),
        ]);
        try {
          readWav(bad);
        } catch (error) {
          if (!(error instanceof WavError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('embedded: what can be played', () => {
  const library = new MediaLibrary();

  it('plays silence of a given length', async () => {
    expect(drain(await library.open('silence_stream://300', 'PCMU'))).to.have.length(2400);
    expect(drain(await library.open('silence_stream://30,1400', 'PCMU'))).to.have.length(240);
    expect(drain(await library.open('silence_stream://-1', 'PCMU'), 100)).to.have.length(16_000);
  });

  it('plays tones with pauses, again and again', async () => {
    const once = drain(await library.open('tone_stream://%(100,50,440,480)', 'PCMU'));
    expect(once).to.have.length(1200);
    expect(Math.max(...once.slice(0, 800))).to.be.above(3000);
    expect(once.slice(800).every((s) => s === 0)).to.equal(true);
    expect(drain(await library.open('tone_stream://%(100,50,440,480);loops=3', 'PCMU'))).to.have.length(3600);
    expect(drain(await library.open('tone_stream://%(100,50,440);loops=-1', 'PCMU'), 100)).to.have.length(
      16_000,
    );
    expect(generateTones('nothing')).to.equal(undefined);
  });

  it('has quiet music that does not clip', () => {
    const peak = generateMusic().reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    expect(peak).to.be.within(1000, 16_000);
  });

  it('does not find what is not there', async () => {
    for (const name of [
      '/nosuch/file.wav',
      'relative.wav',
      'nosuch_stream://1',
      'silence_stream://x',
      'tone_stream://',
    ]) {
      const error = await library.open(name, 'PCMU').then(
        () => undefined,
        (e: unknown) => e,
      );
      expect(error, name).to.be.instanceOf(SourceNotFound);
    }
  });

  describe('from files', () => {
    let folder = '';
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'embedded-media-'));
    });
    after(() => rm(folder, { recursive: true, force: true }));

    it('notices when a file has changed', async () => {
      const path = join(folder, 'a.wav');
      await writeFile(path, wav(new Array(160).fill(1000)));
      expect(drain(await library.open(path, 'PCMU'))).to.have.length(160);
      await writeFile(path, wav(new Array(320).fill(1000)));
      expect(drain(await library.open(path, 'PCMU'))).to.have.length(320);
      expect(drain(await library.open(`${path}@@160`, 'PCMU'))).to.have.length(160);
      expect(drain(await library.open(path.replace('.wav', ''), 'PCMU'))).to.have.length(320);
    });

    it('keeps no more in memory than it may', async () => {
      const small = new MediaLibrary(4000);
      for (let i = 0; i < 10; i++) {
        const path = join(folder, `s${i}.wav`);
        await writeFile(path, wav(new Array(900).fill(i)));
        await small.open(path, 'PCMU');
        expect(small.cachedBytes).to.be.at.most(4000);
      }
      expect(small.cachedBytes).to.be.above(0);
      const large = join(folder, 'large.wav');
      await writeFile(large, wav(new Array(3000).fill(1)));
      const before = small.cachedBytes;
      expect(drain(await small.open(large, 'PCMA'))).to.have.length(3000);
      expect(small.cachedBytes).to.equal(before);
    });
  });
});
