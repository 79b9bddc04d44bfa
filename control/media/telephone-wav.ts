import { resample } from '../lib/resample.ts';
import { readWav, writeWav, type Audio } from '../lib/wav.ts';

const RATE = 8000;
/** Nodes are not asked to play less than 20 ms: some take an empty file for a broken one. */
const LEAST = RATE / 50;

/** Any WAV file as one a media node plays as it is: 8 kHz, mono, 16 bit. @throws WavError */
export const telephoneWav = (file: Buffer): Promise<Buffer> => telephoneWavOf(readWav(file));

export async function telephoneWavOf(audio: Audio): Promise<Buffer> {
  const { samples } = await resample(audio, RATE);
  if (samples.length >= LEAST) return writeWav({ rate: RATE, samples });
  const padded = new Int16Array(LEAST);
  padded.set(samples);
  return writeWav({ rate: RATE, samples: padded });
}
