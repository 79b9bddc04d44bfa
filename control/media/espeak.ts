import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { deferred, type Deferred } from '../lib/deferred.ts';
import type { Logger } from '../lib/logger.ts';
import { SpeechError, type SpeechEngine, type SpeechOptions } from './speech.ts';

export interface EspeakOptions {
  /** The espeak-ng binary. */
  command: string;
  logger: Logger;
  /** The voice where none is asked for. */
  voice?: string;
  /** Processes at a time. */
  concurrency?: number;
  /** Texts that may wait for their turn. */
  maxWaiting?: number;
  /** For one text, in ms. */
  timeoutMs?: number;
}

/** What may stand in a voice's name: no path, no option. */
const VOICE = /^[A-Za-z0-9][A-Za-z0-9+_-]{0,63}$/;
/** About half an hour of speech. */
const MAX_BYTES = 80 * 1024 * 1024;
const UNKNOWN_VOICE = /voice does not exist/i;

class UnknownVoice extends Error {}

/** Speech by espeak-ng: a process for each text, which it reads from its standard input. */
export class EspeakEngine implements SpeechEngine {
  readonly name = 'espeak-ng';
  readonly #options: Required<EspeakOptions>;
  readonly #waiting: Deferred<void>[] = [];
  #running = 0;

  constructor(options: EspeakOptions) {
    this.#options = {
      voice: 'en',
      concurrency: Math.max(1, availableParallelism() - 1),
      maxWaiting: 200,
      timeoutMs: 10_000,
      ...options,
    };
  }

  async synthesise(text: string, { voice, language }: SpeechOptions = {}): Promise<Buffer> {
    const wanted = [
      voice,
      language?.toLowerCase(),
      language?.split('-', 1)[0]?.toLowerCase(),
      this.#options.voice,
    ];
    const voices = [...new Set(wanted)].filter(
      (name): name is string => name !== undefined && VOICE.test(name),
    );
    await this.#turn();
    try {
      for (const name of voices) {
        try {
          return await this.#run(text, name);
        } catch (error) {
          if (!(error instanceof UnknownVoice)) throw error;
          this.#options.logger.debug({ voice: name }, 'espeak-ng has no such voice');
        }
      }
      throw new SpeechError(`espeak-ng has none of the voices ${voices.join(', ')}`);
    } finally {
      // The place goes to the next one in the queue, or is free.
      const next = this.#waiting.shift();
      if (next) next.resolve();
      else this.#running--;
    }
  }

  async #turn(): Promise<void> {
    if (this.#running < this.#options.concurrency) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= this.#options.maxWaiting)
      throw new SpeechError('too many texts are waiting to be spoken');
    const turn = deferred<void>();
    this.#waiting.push(turn);
    await turn.promise;
  }

  #run(text: string, voice: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.#options.command, ['-b', '1', '-v', voice, '--stdin', '--stdout'], {
        stdio: 'pipe',
      });
      const audio: Buffer[] = [];
      let size = 0;
      let complaint = '';
      const fail = (error: Error): void => {
        clearTimeout(timer);
        child.kill('SIGKILL');
        reject(error);
      };
      const timer = setTimeout(
        () => fail(new SpeechError(`espeak-ng took longer than ${this.#options.timeoutMs} ms`)),
        this.#options.timeoutMs,
      );
      child.on('error', (error) => fail(new SpeechError(`espeak-ng cannot be run: ${error.message}`)));
      child.stdout.on('data', (chunk: Buffer) => {
        audio.push(chunk);
        size += chunk.length;
        if (size > MAX_BYTES) fail(new SpeechError('the text makes too long a speech'));
      });
      child.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(0, 500)));
      child.on('close', (code) => {
        clearTimeout(timer);
        if (code === 0 && size > 0) resolve(Buffer.concat(audio));
        else if (UNKNOWN_VOICE.test(complaint)) reject(new UnknownVoice(complaint));
        else reject(new SpeechError(`espeak-ng ended with ${code}: ${complaint.trim() || 'no speech'}`));
      });
      child.stdin.on('error', () => undefined); // It ended before it had read the text: its exit tells why.
      // It would take what is in double brackets for phonemes.
      child.stdin.end(text.replaceAll('[[', '[ ['));
    });
  }
}
