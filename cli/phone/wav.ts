/**
 * WAV files with 16-bit samples, and a resampler of the tests' own: what is tested must not vouch for itself.
 */
export interface Sound {
  rate: number;
  samples: Int16Array;
}

/**
 * First channel of a 16-bit WAV. A stream's header names no true length, so the data ends with the file.
 * @throws Error on anything else.
 */
export function readWav(file: Buffer): Sound {
  if (file.toString('latin1', 0, 4) !== 'RIFF' || file.toString('latin1', 8, 12) !== 'WAVE')
    throw new Error('not a WAV file');
  let rate = 0;
  let channels = 1;
  for (let at = 12; at + 8 <= file.length;) {
    const id = file.toString('latin1', at, at + 4);
    const size = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, Math.min(file.length, at + 8 + size));
    if (id === 'fmt ') {
      if (body.readUInt16LE(0) !== 1 || body.readUInt16LE(14) !== 16) throw new Error('not 16-bit PCM');
      channels = body.readUInt16LE(2);
      rate = body.readUInt32LE(4);
    }
    if (id === 'data') {
      const samples = new Int16Array(Math.floor(body.length / 2 / channels));
      for (let i = 0; i < samples.length; i++) samples[i] = body.readInt16LE(2 * i * channels);
      return { rate, samples };
    }
    at += 8 + size + (size & 1);
  }
  throw new Error('the WAV file has no data');
}

/** Mono, 16 bit. */
export function writeWav({ rate, samples }: Sound): Buffer {
  const file = Buffer.alloc(44 + 2 * samples.length);
  file.write('RIFF', 0, 'latin1');
  file.writeUInt32LE(36 + 2 * samples.length, 4);
  file.write('WAVEfmt ', 8, 'latin1');
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(1, 22);
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(2 * rate, 28);
  file.writeUInt16LE(2, 32);
  file.writeUInt16LE(16, 34);
  file.write('data', 36, 'latin1');
  file.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => file.writeInt16LE(sample, 44 + 2 * i));
  return file;
}

/** To 8 kHz by windowed sinc (Hann, 24 zero crossings a side), low pass at 3.6 kHz. */
export function toTelephone({ rate, samples }: Sound): Int16Array {
  if (rate === 8000) return samples;
  const cutoff = Math.min(3600, rate / 2) / rate;
  const reach = Math.ceil(24 / (2 * cutoff));
  const output = new Int16Array(Math.floor((samples.length * 8000) / rate));
  for (let n = 0; n < output.length; n++) {
    const centre = (n * rate) / 8000;
    let sum = 0;
    for (
      let i = Math.max(0, Math.ceil(centre - reach));
      i <= Math.min(samples.length - 1, centre + reach);
      i++
    ) {
      const x = i - centre;
      const angle = 2 * Math.PI * cutoff * x;
      const sinc = x === 0 ? 1 : Math.sin(angle) / angle;
      sum += (samples[i] as number) * 2 * cutoff * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / reach));
    }
    output[n] = Math.max(-32768, Math.min(32767, Math.round(sum)));
  }
  return output;
}
