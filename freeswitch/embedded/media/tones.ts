const RATE = 8000;
/** Longest cadence that is generated: a minute. */
const MAX_SAMPLES = 60 * RATE;
const LEVEL = 6_000;

export interface Tone {
  samples: Int16Array;
  /** How often it plays; Infinity for ever. */
  loops: number;
}

/**
 * A tone script: `%(on ms, off ms, frequency, …)` one or more times, with `loops=N` (-1 for ever) and `v=dB`
 * for the level, which is -7 where nothing is said.
 * @returns undefined when it holds no tone
 */
export function generateTones(script: string): Tone | undefined {
  const parts: Int16Array[] = [];
  const volume = /(?:^|;)v=(-?\d+(?:\.\d+)?)/.exec(script)?.[1];
  const level = volume === undefined ? LEVEL : Math.min(LEVEL, 32_767 * 10 ** (Number(volume) / 20));
  let total = 0;
  for (const match of script.matchAll(/%\(\s*(\d+)\s*,\s*(\d+)\s*((?:,\s*[\d.]+\s*)+)\)/g)) {
    const on = Math.min(Math.round((Number(match[1]) * RATE) / 1000), MAX_SAMPLES - total);
    const off = Math.min(Math.round((Number(match[2]) * RATE) / 1000), MAX_SAMPLES - total - on);
    const frequencies = (match[3] ?? '')
      .split(',')
      .map(Number)
      .filter((f) => f > 0 && f < RATE / 2);
    const part = new Int16Array(on + off);
    for (let i = 0; i < on; i++) {
      let sum = 0;
      for (const f of frequencies) sum += Math.sin((2 * Math.PI * f * i) / RATE);
      part[i] = Math.round((level * sum) / Math.max(1, frequencies.length));
    }
    parts.push(part);
    total += part.length;
  }
  if (total === 0) return undefined;
  const samples = new Int16Array(total);
  let at = 0;
  for (const part of parts) {
    samples.set(part, at);
    at += part.length;
  }
  const loops = Number(/(?:^|;)loops=(-?\d+)/.exec(script)?.[1] ?? 1);
  return { samples, loops: loops < 0 ? Infinity : Math.max(1, loops) };
}

/**
 * Quiet music for somebody who waits: slow broken chords, made here so that no file and no licence is needed.
 */
export function generateMusic(): Int16Array {
  const chords = [
    [220.0, 261.63, 329.63, 440.0],
    [174.61, 220.0, 261.63, 349.23],
    [130.81, 196.0, 261.63, 329.63],
    [196.0, 246.94, 293.66, 392.0],
  ];
  const note = Math.round(0.4 * RATE);
  const notes = chords.flatMap((chord) => [0, 1, 2, 3, 2, 1, 2, 3].map((i) => chord[i] ?? 220));
  const samples = new Int16Array(notes.length * note);
  // A note rings on into the next two, so that the chord is heard.
  const ring = 3 * note;
  for (const [index, frequency] of notes.entries()) {
    for (let i = 0; i < ring; i++) {
      const at = (index * note + i) % samples.length;
      const envelope = Math.min(1, i / 120) * Math.exp((-3 * i) / ring);
      const wave =
        Math.sin((2 * Math.PI * frequency * i) / RATE) + 0.3 * Math.sin((4 * Math.PI * frequency * i) / RATE);
      samples[at] = Math.max(
        -32_768,
        Math.min(32_767, (samples[at] ?? 0) + Math.round(1_800 * envelope * wave)),
      );
    }
  }
  return samples;
}
