import { Worker } from 'node:worker_threads';

/** Not an MP3 file, or one that is not decoded here. The message says why, for whoever made the file. */
export class Mp3Error extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Mp3Error';
  }
}

export interface Mp3Task {
  file: Uint8Array;
  maxSeconds: number;
}

/** A WAV file for the media nodes, or what is wrong with the MP3 file. */
export type Mp3Answer = { wav: Uint8Array } | { refused: string };

/** A file as large as may be takes some seconds. One that takes longer has found a loop in the decoder. */
const MAX_MS = 30_000;
const MAX_SECONDS = 600;
/** Files decoded at a time: each takes a processor and up to 100 MB. */
const AT_ONCE = 2;
/**
 * TypeScript as it is (as all of control runs), or compiled: a thread does not inherit who reads TypeScript
 * for this one.
 */
const IN_TYPESCRIPT = import.meta.url.endsWith('.ts');
const THREAD = new URL(`./mp3-thread.${IN_TYPESCRIPT ? 'ts' : 'js'}`, import.meta.url).href;
const BOOT = IN_TYPESCRIPT
  ? `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}).then(({ register }) => { register(); return import(${JSON.stringify(THREAD)}); })`
  : `import(${JSON.stringify(THREAD)})`;

let running = 0;
const waiting: (() => void)[] = [];

/**
 * An MP3 file (MPEG layers I to III) as a WAV file of 8 kHz, mono, 16 bit. It is decoded in a thread of its
 * own, so that it holds up no call, and the worst of files costs no more than that thread.
 * @throws Mp3Error
 */
export async function mp3ToTelephoneWav(
  file: Buffer,
  { maxSeconds = MAX_SECONDS, maxMs = MAX_MS } = {},
): Promise<Buffer> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    const answer = await inThread({ file, maxSeconds }, maxMs);
    if ('refused' in answer) throw new Mp3Error(answer.refused);
    return Buffer.from(answer.wav.buffer, answer.wav.byteOffset, answer.wav.byteLength);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

async function inThread(workerData: Mp3Task, maxMs: number): Promise<Mp3Answer> {
  // The decoder writes to the console what it thinks of a file: it is not ours to log.
  const worker = new Worker(BOOT, {
    eval: true,
    workerData,
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: 256 },
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Mp3Answer>((resolve, reject) => {
      timer = setTimeout(() => reject(new Mp3Error('it takes too long to decode')), maxMs);
      worker.once('message', resolve);
      worker.once('error', (error) => reject(new Mp3Error(`it cannot be decoded: ${error.message}`)));
      worker.once('exit', () => reject(new Mp3Error('it cannot be decoded')));
    });
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
