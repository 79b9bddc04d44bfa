import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { S3Storage } from '../../../control/recordings/s3-storage.ts';
import { MissingFile } from '../../../control/recordings/storage.ts';
import { startS3 } from './s3-server.ts';

describe('the S3 storage', () => {
  let s3: Awaited<ReturnType<typeof startS3>>;
  let storage: S3Storage;
  let folder: string;
  let file: string;
  const content = randomBytes(3_000_000);
  const about = { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  const key = 'cust_20260529T120000.000000000/rec_call_20260529T120000.000000000_2.wav';
  const errorOf = (work: Promise<unknown>) =>
    work.then(
      () => {
        throw new Error('it should have failed');
      },
      (error: unknown) => error as Error,
    );

  before(async () => {
    s3 = await startS3('recordings');
    folder = await mkdtemp(join(tmpdir(), 'recordings-'));
    file = join(folder, 'source.wav');
    await writeFile(file, content);
  });
  beforeEach(() => {
    Object.assign(s3.state, { failWith: undefined, hang: false });
    storage = new S3Storage(s3.options);
  });
  after(async () => {
    await s3.close();
    await rm(folder, { recursive: true });
  });

  it('keeps a file and gives it back, whole and in parts', async () => {
    await storage.put(key, file, about);
    await storage.put(key, file, about);
    expect(await storage.size(key)).to.equal(content.length);
    expect(
      (await buffer(await storage.read(key, { start: 0, end: content.length - 1 }))).equals(content),
    ).to.equal(true);
    expect(
      (await buffer(await storage.read(key, { start: 1_000_000, end: 1_000_009 }))).equals(
        content.subarray(1_000_000, 1_000_010),
      ),
    ).to.equal(true);
  });

  it('deletes, and does not mind what is not there', async () => {
    await storage.put(key, file, about);
    await storage.delete(key);
    await storage.delete(key);
    expect(await storage.size(key)).to.equal(undefined);
    expect(await errorOf(storage.read(key, { start: 0, end: 1 }))).to.be.instanceOf(MissingFile);
    expect(await errorOf(storage.put(key, join(folder, 'nothing.wav'), about))).to.be.instanceOf(MissingFile);
  });

  it('a file that is not what it was said to be is not stored', async () => {
    expect((await errorOf(storage.put(key, file, { ...about, sha256: '0'.repeat(64) }))).message).to.contain(
      'XAmzContentSHA256Mismatch',
    );
    expect(await storage.size(key)).to.equal(undefined);
  });

  it('refusals say why, and are no missing files', async () => {
    const wrongSecret = await errorOf(
      new S3Storage({ ...s3.options, secretAccessKey: 'another' }).put(key, file, about),
    );
    expect(wrongSecret.message).to.equal('the storage answered PUT with 403 SignatureDoesNotMatch');
    const wrongBucket = await errorOf(
      new S3Storage({ ...s3.options, bucket: 'nowhere' }).put(key, file, about),
    );
    expect(wrongBucket.message).to.equal('the storage answered PUT with 404 NoSuchBucket');
    s3.state.failWith = 503;
    expect((await errorOf(storage.put(key, file, about))).message).to.equal(
      'the storage answered PUT with 503 SlowDown',
    );
  });

  it('gives up on a server that does not answer', async () => {
    s3.state.hang = true;
    const hasty = new S3Storage({ ...s3.options, timeoutMs: 100 });
    expect((await errorOf(hasty.size(key))).message).to.contain('no answer from the storage within 100 ms');
  });

  it('addresses the bucket as a part of the host where it is told to', async () => {
    const asked: string[] = [];
    const original = globalThis.fetch;
    globalThis.fetch = (url) => {
      asked.push(String(url));
      return Promise.resolve(new Response(null, { status: 404 }));
    };
    try {
      await new S3Storage({ ...s3.options, endpoint: 'https://s3.example.com/', pathStyle: false }).size(
        'a.wav',
      );
      await new S3Storage({ ...s3.options, endpoint: 'https://s3.example.com/base/' }).size('a.wav');
    } finally {
      globalThis.fetch = original;
    }
    expect(asked).to.deep.equal([
      'https://recordings.s3.example.com/a.wav',
      'https://s3.example.com/base/recordings/a.wav',
    ]);
  });
});
