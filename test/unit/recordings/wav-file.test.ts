import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { inspectWav, repairWav } from '../../../control/recordings/wav-file.ts';
import { readWav } from '../../../cli/phone/wav.ts';
import { stereoWav } from './stereo-wav.ts';

describe('the WAV file of a recording', () => {
  let folder: string;
  let file: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'recordings-'));
    file = join(folder, 'a.wav');
  });
  after(() => rm(folder, { recursive: true }));

  const inspect = async (bytes: Buffer) => {
    await writeFile(file, bytes);
    return inspectWav(file);
  };

  it('tells how long and how large it is', async () => {
    expect(await inspect(stereoWav(2.5))).to.deep.equal({
      sizeBytes: 44 + 80_000,
      audioBytes: 80_000,
      seconds: 2.5,
      closed: true,
    });
  });

  it('is not closed while its header knows less than there is', async () => {
    const open = stereoWav(1);
    open.writeUInt32LE(36, 4);
    open.writeUInt32LE(0, 40);
    expect(await inspect(open)).to.include({ audioBytes: 32_000, seconds: 1, closed: false });
    expect(await inspect(stereoWav(1).subarray(0, 20_000))).to.include({ closed: false });
  });

  it('may hold other chunks before and behind the audio', async () => {
    const list = Buffer.concat([Buffer.from('LIST\x05\0\0\0hello\0', 'latin1')]);
    const plain = stereoWav(1);
    const bytes = Buffer.concat([plain.subarray(0, 36), list, plain.subarray(36), list]);
    bytes.writeUInt32LE(bytes.length - 8, 4);
    expect(await inspect(bytes)).to.include({ audioBytes: 32_000, seconds: 1, closed: true });
  });

  it('is nothing when it is something else, cut off in its header, or of a format that no node writes', async () => {
    const compressed = stereoWav(1);
    compressed.writeUInt16LE(7, 20);
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('ID3 and so on, for long enough'),
      stereoWav(1).subarray(0, 30),
      compressed,
    ])
      expect(await inspect(bytes)).to.equal(undefined);
  });

  it('that nobody closed is repaired: lengths right, half a frame gone, everything else as it was', async () => {
    const whole = stereoWav(1);
    const open = Buffer.concat([whole, Buffer.from([1, 2, 3])]);
    open.writeUInt32LE(0, 4);
    open.writeUInt32LE(0xffffffff, 40);
    await writeFile(file, open);
    await repairWav(file);
    expect((await readFile(file)).equals(whole)).to.equal(true);
    expect(await inspectWav(file)).to.include({ closed: true, seconds: 1 });
    expect(readWav(await readFile(file)).samples).to.have.length(8000);
  });
});
