import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as G711 from 'alawmulaw';

// The package has no named exports that every loader of modules would find.
const { alaw, mulaw } = createRequire(import.meta.url)('alawmulaw') as typeof G711;

/** Writes a WAV file with a sine tone of `seconds`. */
export function writeTone(
  path: string,
  frequency: number,
  seconds: number,
  format: { rate?: number; channels?: number; bits?: 8 | 16 } = {},
): void {
  const { rate = 8000, channels = 1, bits = 16 } = format;
  const count = Math.round(rate * seconds);
  const block = (channels * bits) / 8;
  const file = Buffer.alloc(44 + count * block);
  file.write('RIFF', 0);
  file.writeUInt32LE(36 + count * block, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(channels, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(rate * block, 28);
  file.writeUInt16LE(block, 32);
  file.writeUInt16LE(bits, 34);
  file.write('data', 36);
  file.writeUInt32LE(count * block, 40);
  for (let i = 0; i < count; i++) {
    const sample = Math.round(9000 * Math.sin((2 * Math.PI * frequency * i) / rate));
    for (let c = 0; c < channels; c++) {
      if (bits === 16) file.writeInt16LE(sample, 44 + (i * channels + c) * 2);
      else file[44 + i * channels + c] = (sample >> 8) + 128;
    }
  }
  writeFileSync(path, file);
}

/** The samples of RTP packets of one payload type, decoded by an implementation that is not ours. */
export function samplesOf(packets: readonly Buffer[], payload: 0 | 8): number[] {
  const samples: number[] = [];
  for (const packet of packets) {
    if (((packet[1] ?? 0) & 0x7f) !== payload) continue;
    const bytes = new Uint8Array(packet.subarray(12));
    samples.push(...(payload === 0 ? mulaw.decode(bytes) : alaw.decode(bytes)));
  }
  return samples;
}

/** How much of the power of 8 kHz audio is at this frequency (Goertzel), 0 to 1. */
export function share(samples: readonly number[], frequency: number): number {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / 8000);
  let [s1, s2, power] = [0, 0, 0];
  for (const sample of samples) {
    const s = sample + coefficient * s1 - s2;
    s2 = s1;
    s1 = s;
    power += sample * sample;
  }
  if (power === 0) return 0;
  return (2 * (s1 * s1 + s2 * s2 - coefficient * s1 * s2)) / (samples.length * power);
}

/** The samples from the first that is not silence to the last. */
export function loud(samples: readonly number[]): number[] {
  const heard = (sample: number): boolean => Math.abs(sample) > 200;
  return samples.slice(Math.max(0, samples.findIndex(heard)), samples.findLastIndex(heard) + 1);
}
