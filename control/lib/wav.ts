import { ALAW, MULAW } from './g711.ts';

/** One channel of audio, 16 bit. */
export interface Audio {
  /** Samples per second. */
  rate: number;
  samples: Int16Array;
}

/**
 * Not a WAV file, or one of a kind that is not read here. The message says which, for whoever made the file.
 */
export class WavError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WavError';
  }
}

interface Format {
  code: number;
  channels: number;
  rate: number;
  bits: number;
}

const PCM = 1;
const FLOAT = 3;
const FORMAT_ALAW = 6;
const FORMAT_MULAW = 7;
/** WAVE_FORMAT_EXTENSIBLE: the true format is the beginning of a GUID further on. */
const EXTENSIBLE = 0xfffe;

/**
 * Reads a RIFF WAVE file: PCM of 8, 16, 24 or 32 bits, 32-bit float, G.711 A-law or µ-law; several channels
 * are mixed. A data chunk that claims more than there is, as one does that was written to a pipe, ends with
 * the file.
 * @throws WavError
 */
export function readWav(file: Buffer): Audio {
  if (
    file.length < 12 ||
    file.toString('latin1', 0, 4) !== 'RIFF' ||
    file.toString('latin1', 8, 12) !== 'WAVE'
  )
    throw new WavError('not a WAV file');
  let format: Format | undefined;
  for (let at = 12; at + 8 <= file.length;) {
    const id = file.toString('latin1', at, at + 4);
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + size);
    if (id === 'fmt ') format = readFormat(body);
    if (id === 'data') {
      if (!format) throw new WavError('a WAV file without a format');
      return { rate: format.rate, samples: mix(body, format) };
    }
    at += 8 + size + (size & 1); // Chunks begin at even offsets.
  }
  throw new WavError('a WAV file without audio');
}

/** Mono PCM, 16 bit. */
export function writeWav({ rate, samples }: Audio): Buffer {
  const file = Buffer.alloc(44 + 2 * samples.length);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(36 + 2 * samples.length, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(PCM, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(2 * rate, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(2 * samples.length, 40);
  for (let i = 0; i < samples.length; i++) file.writeInt16LE(samples[i] ?? 0, 44 + 2 * i);
  return file;
}

function readFormat(body: Buffer): Format {
  if (body.length < 16) throw new WavError('the format of the WAV file is cut off');
  const said = body.readUInt16LE(0);
  const code = said === EXTENSIBLE && body.length >= 26 ? body.readUInt16LE(24) : said;
  const format = {
    code,
    channels: body.readUInt16LE(2),
    rate: body.readUInt32LE(4),
    bits: body.readUInt16LE(14),
  };
  if (format.channels < 1 || format.channels > 8)
    throw new WavError(`a WAV file with ${format.channels} channels is not supported`);
  if (format.rate < 4000 || format.rate > 192_000)
    throw new WavError(`a WAV file with ${format.rate} samples a second is not supported`);
  return format;
}

/** How to read one sample, as -32768..32767. */
function reader({ code, bits }: Format): { bytes: number; read: (data: Buffer, at: number) => number } {
  if (code === FORMAT_ALAW && bits === 8) return { bytes: 1, read: (data, at) => ALAW[data[at] ?? 0] ?? 0 };
  if (code === FORMAT_MULAW && bits === 8) return { bytes: 1, read: (data, at) => MULAW[data[at] ?? 0] ?? 0 };
  if (code === FLOAT && bits === 32)
    return { bytes: 4, read: (data, at) => finite(data.readFloatLE(at)) * 32_767 };
  if (code === PCM && bits === 8) return { bytes: 1, read: (data, at) => ((data[at] ?? 128) - 128) * 256 };
  if (code === PCM && bits === 16) return { bytes: 2, read: (data, at) => data.readInt16LE(at) };
  if (code === PCM && bits === 24) return { bytes: 3, read: (data, at) => data.readIntLE(at, 3) / 256 };
  if (code === PCM && bits === 32) return { bytes: 4, read: (data, at) => data.readInt32LE(at) / 65_536 };
  throw new WavError(`a WAV file of format ${code} with ${bits} bits is not supported: use 16-bit PCM`);
}

function mix(data: Buffer, format: Format): Int16Array {
  const { bytes, read } = reader(format);
  const { channels } = format;
  const frame = bytes * channels;
  const samples = new Int16Array(Math.floor(data.length / frame));
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += read(data, i * frame + channel * bytes);
    samples[i] = clip(sum / channels);
  }
  return samples;
}

const finite = (value: number): number => (Number.isFinite(value) ? value : 0);

export const clip = (value: number): number => Math.max(-32_768, Math.min(32_767, Math.round(value)));
