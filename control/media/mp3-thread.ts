import { parentPort, workerData } from 'node:worker_threads';
import { MPEGDecoder } from 'mpg123-decoder';
import type { Mp3Answer, Mp3Task } from './mp3.ts';
import { telephoneWavOf } from './telephone-wav.ts';
import { clip, type Audio } from '../lib/wav.ts';

/** Bytes decoded in one go: what comes of them is made small before the next. */
const PIECE = 64 * 1024;

class Refused extends Error {}

/** Mono, at the file's own rate. */
async function decode({ file, maxSeconds }: Mp3Task): Promise<Audio> {
  const decoder = new MPEGDecoder();
  await decoder.ready;
  const pieces: Int16Array[] = [];
  let length = 0;
  let rate = 0;
  for (let at = 0; at < file.length; at += PIECE) {
    const {
      channelData: [left, right],
      samplesDecoded,
      sampleRate,
    } = decoder.decode(file.subarray(at, at + PIECE));
    if (samplesDecoded === 0 || !left) continue;
    if (rate !== 0 && sampleRate !== rate)
      throw new Refused(`its sample rate changes from ${rate} to ${sampleRate}`);
    rate = sampleRate;
    length += samplesDecoded;
    if (length > maxSeconds * rate) throw new Refused(`it is longer than ${maxSeconds} s`);
    pieces.push(Int16Array.from(left, (sample, i) => clip(((sample + (right?.[i] ?? sample)) / 2) * 32_768)));
  }
  if (length === 0) throw new Refused('there is no audio in it');
  const samples = new Int16Array(length);
  let at = 0;
  for (const piece of pieces) {
    samples.set(piece, at);
    at += piece.length;
  }
  return { rate, samples };
}

async function answer(task: Mp3Task): Promise<Mp3Answer> {
  try {
    return { wav: await telephoneWavOf(await decode(task)) };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.message };
    throw error;
  }
}

parentPort?.postMessage(await answer(workerData as Mp3Task));
