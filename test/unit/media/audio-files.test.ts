import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { pino } from 'pino';
import { createGuardedFetch, type GuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { readWav, writeWav } from '../../../control/lib/wav.ts';
import { AudioFiles, type AudioFilesOptions } from '../../../control/media/audio-files.ts';
import { MediaError } from '../../../control/media/media.ts';

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'it did not fail',
    (error: unknown) => (error instanceof MediaError ? error.message : Promise.reject(error as Error)),
  );

const audio = (value: number, rate = 16_000): Buffer =>
  writeWav({ rate, samples: new Int16Array(rate).fill(value) });

describe("customers' audio files", () => {
  let server: Server;
  let fetcher: GuardedFetch;
  let folder: string;
  let base: string;
  let requests: IncomingMessage[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let now: number;

  const files = (options: Partial<AudioFilesOptions> = {}): AudioFiles =>
    new AudioFiles({
      fetch: fetcher.fetch,
      folder,
      freshMs: 60_000,
      now: () => now,
      logger: pino({ level: 'silent' }),
      ...options,
    });

  beforeEach(async () => {
    requests = [];
    now = Date.now();
    answer = (_, response) => response.end(audio(1000));
    server = createServer((request, response) => {
      requests.push(request);
      answer(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    fetcher = createGuardedFetch({ allowPrivate: true });
    folder = await mkdtemp(join(tmpdir(), 'audio-'));
  });

  afterEach(async () => {
    fetcher.close();
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('become 8 kHz, mono, 16 bit', async () => {
    const path = await files().file(`${base}/a.wav`);
    expect(path.startsWith(join(folder, 'audio/'))).to.equal(true);
    const { rate, samples } = readWav(await readFile(path));
    expect([rate, samples.length, samples[4000]]).to.deep.equal([8000, 8000, 1000]);
  });

  it('may come as gzip, and in no other coding', async () => {
    answer = (request, response) =>
      request.url === '/a.wav'
        ? response.setHeader('Content-Encoding', 'gzip').end(gzipSync(audio(1000)))
        : response.setHeader('Content-Encoding', 'br').end('xx');
    expect(readWav(await readFile(await files().file(`${base}/a.wav`))).samples[4000]).to.equal(1000);
    expect(await failure(files().file(`${base}/b.wav`))).to.contain(
      'cannot be played: the reply has Content-Encoding br',
    );
  });

  it('may be MP3, by whatever name and type', async () => {
    const mp3 = await readFile(join(import.meta.dirname, 'tone-1000.mp3'));
    answer = (request, response) =>
      response
        .setHeader('Content-Type', request.url === '/a' ? 'audio/mpeg' : 'application/octet-stream')
        .end(mp3);
    const cache = files();
    const paths = await Promise.all([
      cache.file(`${base}/a`),
      cache.file(`${base}/b.mp3`),
      cache.file(`${base}/c.wav`),
    ]);
    expect(new Set(paths).size).to.equal(1);
    const { rate, samples } = readWav(await readFile(paths[0]));
    expect(rate).to.equal(8000);
    expect(samples.length).to.be.within(8000, 9000);
    const second = samples.subarray(400, 7600);
    const crossings = second.reduce(
      (count, sample, i) => count + Number(i > 0 && sample >= 0 !== (second[i - 1] ?? 0) >= 0),
      0,
    );
    expect(crossings / (second.length / 8000)).to.be.within(1980, 2020);
    expect(Math.max(...second)).to.be.within(8000, 11_000);
  });

  it('are fetched once for all who ask within a minute', async () => {
    const cache = files();
    const paths = await Promise.all([cache.file(`${base}/a.wav`), cache.file(`${base}/a.wav`)]);
    now += 59_000;
    paths.push(await cache.file(`${base}/a.wav`));
    expect(new Set(paths).size).to.equal(1);
    expect(requests).to.have.length(1);
  });

  it('are asked about after that, by their ETag or date, and made anew only when they changed', async () => {
    answer = (request, response) => {
      response.setHeader('ETag', '"1"');
      if (request.headers['if-none-match'] === '"1"') response.writeHead(304).end();
      else response.end(audio(1000));
    };
    const cache = files();
    const first = await cache.file(`${base}/a.wav`);
    now += 61_000;
    expect(await cache.file(`${base}/a.wav`)).to.equal(first);
    expect(requests.map(({ headers }) => headers['if-none-match'])).to.deep.equal([undefined, '"1"']);

    answer = (_, response) =>
      response.setHeader('Last-Modified', 'Fri, 20 Nov 2026 10:00:00 GMT').end(audio(2000));
    now += 61_000;
    const second = await cache.file(`${base}/a.wav`);
    expect(second).not.to.equal(first);
    expect(readWav(await readFile(first)).samples[4000]).to.equal(1000);
    expect(readWav(await readFile(second)).samples[4000]).to.equal(2000);
    now += 61_000;
    await cache.file(`${base}/a.wav`);
    expect(requests.at(-1)?.headers['if-modified-since']).to.equal('Fri, 20 Nov 2026 10:00:00 GMT');
  });

  it('are fetched again when the copy is gone', async () => {
    const cache = files();
    await rm(await cache.file(`${base}/a.wav`));
    expect(await cache.file(`${base}/a.wav`)).to.be.a('string');
    expect(requests).to.have.length(2);
  });

  it('of the same content are one file', async () => {
    const cache = files();
    await cache.file(`${base}/a.wav`);
    await cache.file(`${base}/b.wav`);
    expect(await readdir(join(folder, 'audio'))).to.have.length(1);
  });

  it('may be redirected to, a few times', async () => {
    answer = (request, response) => {
      const hops = Number(request.url?.slice(1));
      if (hops > 0) response.writeHead(302, { Location: `/${hops - 1}` }).end();
      else response.end(audio(1));
    };
    expect(await files().file(`${base}/3`)).to.be.a('string');
    expect(await failure(files().file(`${base}/4`))).to.include('could not be fetched');
  });

  it('that cannot be played are refused with the reason', async () => {
    const bodies: [string, Buffer | string, string, string][] = [
      [
        '/mp3',
        Buffer.from([0xff, 0xfb, 0x90, 0x64, 0, 0]),
        'application/octet-stream',
        'cannot be played as MP3: there is no audio in it',
      ],
      ['/id3', 'ID3\u0004', 'application/octet-stream', 'cannot be played as MP3'],
      ['/type', 'anything', 'audio/mpeg', 'cannot be played as MP3'],
      ['/html', '<html></html>', 'text/html', 'not a WAV file'],
      ['/cut', audio(1).subarray(0, 40), 'audio/wav', 'without audio'],
    ];
    for (const [path, body, type, reason] of bodies) {
      answer = (_, response) => response.setHeader('Content-Type', type).end(body);
      expect(await failure(files().file(`${base}${path}`)))
        .to.include(`${base}${path}`)
        .and.to.include(reason);
    }
    expect(await readdir(folder)).to.deep.equal([]);
    answer = (_, response) => response.setHeader('Content-Type', 'audio/mpeg').end(audio(1));
    expect(await files().file(`${base}/mislabelled`)).to.be.a('string');
  });

  it('that are not there, too large, too slow or out of bounds are refused with the reason', async () => {
    answer = (_, response) => response.writeHead(404).end();
    expect(await failure(files().file(`${base}/a`))).to.equal(`${base}/a answered with 404`);
    answer = (_, response) => response.end(audio(1));
    expect(await failure(files({ maxFileBytes: 1000 }).file(`${base}/a`))).to.include(
      'larger than 1000 bytes',
    );
    answer = () => undefined;
    expect(await failure(files({ timeoutMs: 50 }).file(`${base}/a`))).to.include('within 50 ms');
    const guarded = createGuardedFetch({ allowPrivate: false });
    expect(await failure(files({ fetch: guarded.fetch }).file(base.replace('http', 'https')))).to.include(
      'could not be fetched',
    );
    guarded.close();
  });

  it('are asked for again after a failure', async () => {
    const cache = files();
    answer = (_, response) => response.writeHead(500).end();
    await failure(cache.file(`${base}/a`));
    answer = (_, response) => response.end(audio(1));
    expect(await cache.file(`${base}/a`)).to.be.a('string');
  });
});
