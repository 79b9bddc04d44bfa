import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { readWav } from '../../../control/lib/wav.ts';
import { Mp3Error, mp3ToTelephoneWav } from '../../../control/media/mp3.ts';

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'it did not fail',
    (error: unknown) => (error instanceof Mp3Error ? error.message : Promise.reject(error as Error)),
  );

/** Numbers that look random and are the same every time. */
function noise(length: number): Buffer {
  let state = 1;
  return Buffer.from(Array.from({ length }, () => (state = (state * 48_271) % 0x7fffffff) & 0xff));
}

describe('an MP3 file', () => {
  let mp3: Buffer;

  before(async () => {
    mp3 = await readFile(join(import.meta.dirname, 'tone-1000.mp3'));
  });

  it('is played as far as it goes when it is cut, or has something else around it', async () => {
    const whole = readWav(await mp3ToTelephoneWav(mp3)).samples.length;
    const cut = readWav(await mp3ToTelephoneWav(mp3.subarray(0, 1200))).samples.length;
    expect(cut).to.be.within(whole / 3, whole - 1000);
    const tag = Buffer.concat([
      Buffer.from('ID3\x03\0\0\0\0\x02\0', 'latin1'),
      Buffer.alloc(256),
      mp3,
      Buffer.from('TAG'),
      Buffer.alloc(125),
    ]);
    expect(readWav(await mp3ToTelephoneWav(tag)).samples.length).to.be.within(whole - 400, whole + 400);
  });

  it('without audio is refused, whatever is in it', async () => {
    for (const file of [Buffer.alloc(0), Buffer.alloc(100_000), Buffer.from('<html>'.repeat(1000))]) {
      expect(await failure(mp3ToTelephoneWav(file))).to.equal('there is no audio in it');
    }
    const result = await mp3ToTelephoneWav(noise(200_000)).then(
      () => 'some audio',
      (error: unknown) => (error instanceof Mp3Error ? 'refused' : String(error)),
    );
    expect(result).to.be.oneOf(['some audio', 'refused']);
  });

  it('is refused when it is too long, or takes too long', async () => {
    expect(await failure(mp3ToTelephoneWav(mp3, { maxSeconds: 0.5 }))).to.equal('it is longer than 0.5 s');
    expect(await failure(mp3ToTelephoneWav(mp3, { maxMs: 1 }))).to.equal('it takes too long to decode');
  });

  it('waits for others to be decoded, and is decoded all the same', async () => {
    const results = await Promise.all(
      [mp3, mp3.subarray(0, 10), mp3, mp3].map((file) =>
        mp3ToTelephoneWav(file).then(
          (wav) => wav.length > 16_000,
          () => false,
        ),
      ),
    );
    expect(results).to.deep.equal([true, false, true, true]);
  });
});
