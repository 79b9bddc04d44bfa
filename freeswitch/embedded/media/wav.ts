import { decode } from '../rtp/g711.ts';

export class WavError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WavError';
  }
}

interface Format {
  tag: number;
  channels: number;
  rate: number;
  bits: number;
}

const PCM = 1;
const A_LAW = 6;
const MU_LAW = 7;
const EXTENSIBLE = 0xfffe;

/**
 * The samples of a RIFF WAVE file as 8 kHz mono.
 * @throws WavError when it is none, or of a kind that is not supported
 */
export function readWav(data: Buffer): Int16Array {
  if (
    data.length < 12 ||
    data.toString('latin1', 0, 4) !== 'RIFF' ||
    data.toString('latin1', 8, 12) !== 'WAVE'
  )
    throw new WavError('not a WAV file');
  let format: Format | undefined;
  let at = 12;
  while (at + 8 <= data.length) {
    const id = data.toString('latin1', at, at + 4);
    const size = data.readUInt32LE(at + 4);
    const body = data.subarray(at + 8, Math.min(at + 8 + size, data.length));
    if (id === 'fmt ' && body.length >= 16) {
      const tag = body.readUInt16LE(0);
      format = {
        tag: tag === EXTENSIBLE && body.length >= 26 ? body.readUInt16LE(24) : tag,
        channels: body.readUInt16LE(2),
        rate: body.readUInt32LE(4),
        bits: body.readUInt16LE(14),
      };
    } else if (id === 'data') {
      if (!format) throw new WavError('data before format');
      // A writer that could not seek back leaves the size at 0 or at its maximum: the rest of the file is
      // meant.
      const audio = size === 0 || size === 0xffff_ffff ? data.subarray(at + 8) : body;
      return resample(mixDown(samplesOf(audio, format), format.channels), format.rate, 8000);
    }
    at += 8 + size + (size % 2);
  }
  throw new WavError('no audio in the file');
}

function samplesOf(audio: Buffer, format: Format): Int16Array {
  if (format.channels < 1 || format.channels > 16 || format.rate < 1000 || format.rate > 384_000)
    throw new WavError('odd format');
  if (format.tag === A_LAW) return decode('PCMA', audio);
  if (format.tag === MU_LAW) return decode('PCMU', audio);
  if (format.tag !== PCM || ![8, 16, 24, 32].includes(format.bits))
    throw new WavError(`format ${format.tag} with ${format.bits} bits is not supported`);
  const bytes = format.bits / 8;
  const samples = new Int16Array(Math.floor(audio.length / bytes));
  for (let i = 0; i < samples.length; i++) {
    // 8-bit samples are unsigned; of wider ones the two upper bytes are kept.
    samples[i] = bytes === 1 ? ((audio[i] ?? 128) - 128) << 8 : audio.readInt16LE(i * bytes + bytes - 2);
  }
  return samples;
}

function mixDown(samples: Int16Array, channels: number): Int16Array {
  if (channels === 1) return samples;
  const mono = new Int16Array(Math.floor(samples.length / channels));
  for (let i = 0; i < mono.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += samples[i * channels + c] ?? 0;
    mono[i] = Math.round(sum / channels);
  }
  return mono;
}

/**
 * Linear interpolation upwards, the mean of what falls into a sample downwards: plain, and enough for a
 * prompt.
 */
export function resample(samples: Int16Array, from: number, to: number): Int16Array {
  if (from === to) return samples;
  const step = from / to;
  const result = new Int16Array(Math.floor(samples.length / step));
  for (let i = 0; i < result.length; i++) {
    const position = i * step;
    if (step > 1) {
      const end = Math.min(samples.length, Math.max(Math.floor(position) + 1, Math.floor(position + step)));
      let sum = 0;
      for (let j = Math.floor(position); j < end; j++) sum += samples[j] ?? 0;
      result[i] = Math.round(sum / (end - Math.floor(position)));
    } else {
      const j = Math.floor(position);
      const a = samples[j] ?? 0;
      result[i] = Math.round(a + ((samples[j + 1] ?? a) - a) * (position - j));
    }
  }
  return result;
}
