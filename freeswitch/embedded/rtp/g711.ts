/** ITU-T G.711 by table: 256 entries to decode, 65,536 to encode. Samples are signed 16-bit. */

function decodeMuLaw(byte: number): number {
  const inverted = ~byte & 0xff;
  const exponent = (inverted >> 4) & 7;
  const magnitude = ((((inverted & 15) << 3) + 0x84) << exponent) - 0x84;
  return inverted & 0x80 ? -magnitude : magnitude;
}

function decodeALaw(byte: number): number {
  const toggled = byte ^ 0x55;
  const exponent = (toggled >> 4) & 7;
  const mantissa = (toggled & 15) << 4;
  const magnitude = exponent === 0 ? mantissa + 8 : (mantissa + 0x108) << (exponent - 1);
  return toggled & 0x80 ? magnitude : -magnitude;
}

function encodeMuLaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), 32_635) + 0x84;
  let exponent = 7;
  for (let mask = 0x4000; exponent > 0 && (magnitude & mask) === 0; mask >>= 1) exponent--;
  return ~(sign | (exponent << 4) | ((magnitude >> (exponent + 3)) & 15)) & 0xff;
}

function encodeALaw(sample: number): number {
  const sign = sample < 0 ? 0 : 0x80;
  // One's complement for negative values keeps both halves of the curve symmetric, as the standard's tables
  // are.
  const magnitude = Math.min(sample < 0 ? ~sample : sample, 32_767);
  let exponent = 7;
  for (let mask = 0x4000; exponent > 0 && (magnitude & mask) === 0; mask >>= 1) exponent--;
  const mantissa = exponent === 0 ? (magnitude >> 4) & 15 : (magnitude >> (exponent + 3)) & 15;
  return (sign | (exponent << 4) | mantissa) ^ 0x55;
}

const MU_DECODE = Int16Array.from({ length: 256 }, (_, i) => decodeMuLaw(i));
const A_DECODE = Int16Array.from({ length: 256 }, (_, i) => decodeALaw(i));
const MU_ENCODE = Uint8Array.from({ length: 65_536 }, (_, i) => encodeMuLaw(i - 32_768));
const A_ENCODE = Uint8Array.from({ length: 65_536 }, (_, i) => encodeALaw(i - 32_768));

export type G711 = 'PCMU' | 'PCMA';

/** The sample that each byte stands for. */
export const SAMPLES: Readonly<Record<G711, Int16Array>> = { PCMU: MU_DECODE, PCMA: A_DECODE };

/** Bytes of one law as bytes of the other. */
const MU_TO_A = Uint8Array.from({ length: 256 }, (_, i) => A_ENCODE[(MU_DECODE[i] ?? 0) + 32_768] ?? 0);
const A_TO_MU = Uint8Array.from({ length: 256 }, (_, i) => MU_ENCODE[(A_DECODE[i] ?? 0) + 32_768] ?? 0);

/** One frame: 20 ms at 8 kHz. */
export const FRAME_SAMPLES = 160;

/** The byte that stands for silence. */
export const SILENCE: Readonly<Record<G711, number>> = { PCMU: 0xff, PCMA: 0xd5 };

/** Encodes `samples` from `from` to `to` into `target` at the same index. */
export function encodeInto(
  law: G711,
  samples: Int16Array,
  target: Uint8Array,
  from = 0,
  to = samples.length,
): void {
  const table = law === 'PCMU' ? MU_ENCODE : A_ENCODE;
  for (let i = from; i < to; i++) target[i] = table[(samples[i] ?? 0) + 32_768] ?? 0;
}

/** Encodes one frame into `target` from `offset` on. */
export function encodeFrame(law: G711, samples: Int16Array, target: Uint8Array, offset: number): void {
  const table = law === 'PCMU' ? MU_ENCODE : A_ENCODE;
  for (let i = 0; i < FRAME_SAMPLES; i++) target[offset + i] = table[(samples[i] ?? 0) + 32_768] ?? 0;
}

export function encode(law: G711, samples: Int16Array): Buffer {
  const target = Buffer.allocUnsafe(samples.length);
  encodeInto(law, samples, target);
  return target;
}

export function decode(law: G711, bytes: Uint8Array): Int16Array {
  const table = law === 'PCMU' ? MU_DECODE : A_DECODE;
  const samples = new Int16Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) samples[i] = table[bytes[i] ?? 0] ?? 0;
  return samples;
}

/** Copies a frame into `target`, in the law it is wanted in. */
export function transcodeInto(
  from: G711,
  frame: Uint8Array,
  to: G711,
  target: Uint8Array,
  offset: number,
): void {
  if (from === to) {
    target.set(frame, offset);
    return;
  }
  const table = from === 'PCMU' ? MU_TO_A : A_TO_MU;
  for (let i = 0; i < frame.length; i++) target[offset + i] = table[frame[i] ?? 0] ?? 0;
}
