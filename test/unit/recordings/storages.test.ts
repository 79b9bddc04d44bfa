import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { LocalStorage } from '../../../control/recordings/local-storage.ts';
import { numberOf, recordingId, recordingOfFile } from '../../../control/recordings/recording.ts';
import { MissingFile } from '../../../control/recordings/storage.ts';

describe('the ids of recordings', () => {
  const call = 'call_20260529T120000.000000000';

  it('are made of the call, and of a number from the second on', () => {
    expect([1, 2, 12].map((n) => recordingId(call, n))).to.deep.equal([
      `rec_${call}`,
      `rec_${call}_2`,
      `rec_${call}_12`,
    ]);
    expect([1, 2, 12].map((n) => numberOf(call, recordingId(call, n)))).to.deep.equal([1, 2, 12]);
  });

  it('of something else have no number', () => {
    for (const id of ['rec_call_1', `rec_${call}_`, `rec_${call}_x`, `rec_${call}_0`, `rec_${call}2`, ''])
      expect(numberOf(call, id), id).to.equal(0);
  });

  it('name the files of media nodes, and nothing else does', () => {
    expect(recordingOfFile(`rec_${call}_2.wav`)).to.equal(`rec_${call}_2`);
    for (const name of ['prompt.wav', `rec_${call}.mp3`, '.rec_x.wav', '../rec_x.wav'])
      expect(recordingOfFile(name), name).to.equal(undefined);
  });
});

describe('the local storage', () => {
  let folder: string;
  let storage: LocalStorage;
  const source = () => join(folder, 'source.wav');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'recordings-'));
    storage = new LocalStorage(join(folder, 'kept'));
    await writeFile(source(), 'abcdefghij');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('takes a file over: it is there whole and gone from where it was', async () => {
    await storage.put('cust_1/rec_1.wav', source());
    expect(await readdir(folder)).to.deep.equal(['kept']);
    expect(await readFile(join(folder, 'kept/cust_1/rec_1.wav'), 'utf8')).to.equal('abcdefghij');
    expect(await storage.size('cust_1/rec_1.wav')).to.equal(10);
  });

  it('reads the part that is asked for', async () => {
    await storage.put('a.wav', source());
    expect((await buffer(await storage.read('a.wav', { start: 2, end: 4 }))).toString()).to.equal('cde');
  });

  it('says what is missing, and forgets what was never there', async () => {
    const missing = async (work: Promise<unknown>) =>
      expect(await work.catch((error: unknown) => error)).to.be.instanceOf(MissingFile);
    await missing(storage.put('a.wav', join(folder, 'nothing.wav')));
    await missing(storage.read('a.wav', { start: 0, end: 1 }));
    expect(await storage.size('a.wav')).to.equal(undefined);
    await storage.delete('a.wav');
  });

  it('deletes', async () => {
    await storage.put('a.wav', source());
    await storage.delete('a.wav');
    expect(await storage.size('a.wav')).to.equal(undefined);
  });
});
