/** Share of 20 ms frames of a recording's channel in which a tone is most of what sounds. */
export function toneShare(samples: Int16Array, frequency: number): number {
  let frames = 0;
  for (let at = 0; at + 160 <= samples.length; at += 160) {
    let energy = 0;
    let real = 0;
    let imaginary = 0;
    for (let i = 0; i < 160; i++) {
      const sample = samples[at + i] ?? 0;
      energy += sample * sample;
      real += sample * Math.cos((2 * Math.PI * frequency * i) / 8000);
      imaginary += sample * Math.sin((2 * Math.PI * frequency * i) / 8000);
    }
    if (energy > 160 * 10_000 && (real * real + imaginary * imaginary) / (energy * 80) > 0.7) frames++;
  }
  return frames / Math.max(1, Math.floor(samples.length / 160));
}

/** The two channels of a stereo WAV, 16 bit. */
export function channelsOf(file: Buffer): [Int16Array, Int16Array] {
  const data = file.indexOf('data') + 8;
  const frames = Math.floor((file.length - data) / 4);
  const left = new Int16Array(frames);
  const right = new Int16Array(frames);
  for (let i = 0; i < frames; i++) {
    left[i] = file.readInt16LE(data + 4 * i);
    right[i] = file.readInt16LE(data + 4 * i + 2);
  }
  return [left, right];
}
