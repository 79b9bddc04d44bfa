import {
  access,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { pino } from 'pino';
import { readWav, writeWav } from '../../../control/lib/wav.ts';
import { EspeakEngine } from '../../../control/media/espeak.ts';
import { FileCache } from '../../../control/media/file-cache.ts';
import { Prompts, SpeechError, type SpeechEngine } from '../../../control/media/speech.ts';
import { recognise } from '../../../cli/phone/recognise.ts';
import { spoken } from '../../../cli/phone/voice.ts';
import { deferred } from '../../../control/lib/deferred.ts';

const logger = pino({ level: 'silent' });
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('speech', () => {
  let folder: string;
  const command = process.env.SPEECH_COMMAND ?? 'espeak-ng';

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'speech-'));
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  describe('of espeak-ng', () => {
    /** A program in espeak-ng's place. */
    const program = async (script: string): Promise<string> => {
      const path = join(folder, 'program');
      await writeFile(path, `#!/bin/sh\n${script}\n`);
      await chmod(path, 0o755);
      return path;
    };

    it('says the text', async () => {
      const text = 'Welcome to the sales department. Please hold the line.';
      const prompts = new Prompts({
        engine: new EspeakEngine({ command, logger }),
        folder,
        maxBytes: 1e8,
        logger,
      });
      const { rate, samples } = readWav(await readFile(await prompts.file(text)));
      expect(rate).to.equal(8000);
      expect(recognise(samples, await spoken(text)).fraction).to.be.above(0.9);
      expect(
        recognise(samples, await spoken('Please leave a message after the tone, and then hang up.')).fraction,
      ).to.be.below(0.5);
    });

    it('says text that a shell, a mark-up reader or espeak-ng itself would take for something else', async () => {
      const engine = new EspeakEngine({ command, logger });
      const marker = join(folder, 'made-by-a-shell');
      for (const text of [
        `$(touch ${marker})`,
        `"; touch ${marker}; "`,
        '<speak>a</speak>',
        '[[x]]',
        '--help',
        '-w /tmp/x',
        'ærøskøbing 日本語 \u0007',
      ]) {
        expect(readWav(await engine.synthesise(text)).samples.length, text).to.be.above(1000);
      }
      expect(await failure(access(marker))).to.be.instanceOf(Error);
    });

    it('takes a voice, or else the language, or else its own', async () => {
      const engine = new EspeakEngine({ command, logger });
      const say = async (voice?: string, language?: string): Promise<string> =>
        (await engine.synthesise('Guten Morgen', { voice, language })).toString('base64');
      const [german, english] = [await say('de'), await say()];
      expect(german).not.to.equal(english);
      expect(await say('nobody', 'de-DE')).to.equal(german);
      expect(await say(undefined, 'de')).to.equal(german);
      expect(await say('nobody')).to.equal(english);
      for (const unsafe of ['../../etc/passwd', '-f', 'a b', ''])
        expect(await say(unsafe), unsafe).to.equal(english);
    });

    it('fails when there is no espeak-ng, or it fails', async () => {
      expect(await failure(new EspeakEngine({ command: join(folder, 'nothing'), logger }).synthesise('a')))
        .to.be.instanceOf(SpeechError)
        .with.property('message')
        .that.includes('cannot be run');
      const broken = new EspeakEngine({ command: await program('echo no data >&2; exit 3'), logger });
      expect(await failure(broken.synthesise('a')))
        .to.be.instanceOf(SpeechError)
        .with.property('message', 'espeak-ng ended with 3: no data');
    });

    it('is given up after its time, and the next one gets its turn', async () => {
      const engine = new EspeakEngine({
        command: await program('read line; case $line in hang) exec sleep 60;; esac; echo wav'),
        logger,
        concurrency: 1,
        timeoutMs: 300,
      });
      const [first, second] = [failure(engine.synthesise('hang\n')), engine.synthesise('go\n')];
      expect(await first)
        .to.be.instanceOf(SpeechError)
        .with.property('message')
        .that.includes('longer than 300 ms');
      expect((await second).toString()).to.equal('wav\n');
    });

    it('runs only so many at a time, and lets only so many wait', async () => {
      const counter = join(folder, 'running');
      await mkdir(counter);
      const engine = new EspeakEngine({
        command: await program(`touch ${counter}/$$; ls ${counter} | wc -l; sleep 0.05; rm ${counter}/$$`),
        logger,
        concurrency: 2,
        maxWaiting: 4,
      });
      const all = await Promise.allSettled(Array.from({ length: 8 }, () => engine.synthesise('a')));
      const counts = all.flatMap((one) => (one.status === 'fulfilled' ? [Number(one.value.toString())] : []));
      expect(counts).to.have.length(6);
      expect(Math.max(...counts)).to.be.at.most(2);
      expect(
        all.filter((one) => one.status === 'rejected').map((one) => (one.reason as Error).message),
      ).to.deep.equal(Array(2).fill('too many texts are waiting to be spoken'));
    });
  });

  describe('as files', () => {
    /** Says texts by their length, and counts. */
    const counting = (): SpeechEngine & { said: string[]; hold: () => Promise<void> } => ({
      name: 'counting',
      said: [],
      hold: () => Promise.resolve(),
      async synthesise(text) {
        this.said.push(text);
        await this.hold();
        return writeWav({ rate: 16_000, samples: new Int16Array(16 * text.length) });
      },
    });
    const prompts = (engine: SpeechEngine): Prompts => new Prompts({ engine, folder, maxBytes: 1e6, logger });

    it('is 8 kHz, mono, 16 bit, whole, and readable by the media nodes', async () => {
      const path = await prompts(counting()).file('x'.repeat(1000));
      expect(dirname(path)).to.equal(join(folder, 'speech'));
      const audio = readWav(await readFile(path));
      expect([audio.rate, audio.samples.length]).to.deep.equal([8000, 8000]);
      expect((await stat(path)).mode & 0o777).to.equal(0o644);
      expect((await stat(dirname(path))).mode & 0o777).to.equal(0o755);
      expect(await readdir(dirname(path))).to.have.length(1);
    });

    it('is made once for the same voice and text, by one process after the other too', async () => {
      const engine = counting();
      const gate = deferred<void>();
      engine.hold = () => gate.promise;
      const first = prompts(engine);
      const waiting = [
        first.file('a'),
        first.file('a'),
        first.file('b'),
        first.file('a', { voice: 'v' }),
        first.file('a', { language: 'en' }),
      ];
      gate.resolve();
      const paths = await Promise.all(waiting);
      expect(new Set(paths).size).to.equal(4);
      expect(await prompts(engine).file('a')).to.equal(paths[0]);
      expect(engine.said).to.have.length(4);
      expect(first.making).to.equal(0);
    });

    it('is tried again when it failed', async () => {
      const engine = counting();
      const cache = prompts(engine);
      engine.hold = () => Promise.reject(new SpeechError('not now'));
      expect(await failure(cache.file('a'))).to.be.instanceOf(SpeechError);
      engine.hold = () => Promise.resolve();
      expect(await cache.file('a')).to.be.a('string');
      expect(await readdir(join(folder, 'speech'))).to.have.length(1);
    });

    it('is never an empty file', async () => {
      const path = await prompts(counting()).file('');
      expect(readWav(await readFile(path)).samples.length).to.equal(160);
    });
  });

  describe('kept on disk', () => {
    const MINUTE = 60_000;
    let now = Date.now();
    const cache = (maxBytes: number): FileCache =>
      new FileCache({ folder, maxBytes, keepMs: 10 * MINUTE, now: () => now, logger });
    const names = async (): Promise<string[]> => (await readdir(folder)).sort();

    it('gives way to what was used more recently', async () => {
      const files = cache(3000);
      for (const name of ['a', 'b', 'c']) {
        await files.put(name, Buffer.alloc(1000));
        now += MINUTE;
      }
      now += 60 * MINUTE;
      await files.find('a');
      now += 11 * MINUTE;
      await files.put('d', Buffer.alloc(1000));
      // From 4000 down to below 2700: the two that were used longest ago.
      expect(await names()).to.deep.equal(['a', 'd']);
    });

    it('stays although there is too much when it was used in the last minutes', async () => {
      const files = cache(1500);
      for (const name of ['a', 'b', 'c']) await files.put(name, Buffer.alloc(1000));
      expect(await names()).to.deep.equal(['a', 'b', 'c']);
      now += 11 * MINUTE;
      await files.find('b');
      await files.put('d', Buffer.alloc(1000));
      expect(await names()).to.deep.equal(['b', 'd']);
    });

    it('is cleared of what a killed process has left half written, later', async () => {
      const files = cache(1e6);
      await writeFile(join(folder, '.x.tmp'), 'half');
      await utimes(join(folder, '.x.tmp'), now / 1000, now / 1000);
      await files.sweep();
      expect(await names()).to.deep.equal(['.x.tmp']);
      now += 11 * MINUTE;
      await files.put('a', Buffer.alloc(10));
      await files.sweep();
      expect(await names()).to.deep.equal(['a']);
    });

    it('is not found when it is empty or gone', async () => {
      const files = cache(1e6);
      await writeFile(join(folder, 'empty'), '');
      expect([await files.find('empty'), await files.find('gone')]).to.deep.equal([undefined, undefined]);
    });
  });
});
