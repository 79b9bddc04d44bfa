/** What a phone can say into a call: 20 ms at a time, 160 samples at 8 kHz. */
export type SoundSource = () => Int16Array;

export const silence = (): SoundSource => () => new Int16Array(160);

/** A sine; `amplitude` in 16-bit units. */
export function tone(frequency: number, amplitude = 8000): SoundSource {
  let n = 0;
  return () =>
    Int16Array.from({ length: 160 }, () =>
      Math.round(amplitude * Math.sin((2 * Math.PI * frequency * n++) / 8000)),
    );
}

/**
 * A recording at 8 kHz, once or again and again; silence after it. `onEnd` is told when the last of it is
 * taken.
 */
export function recording(
  samples: Int16Array,
  options: { loop?: boolean; onEnd?: () => void } = {},
): SoundSource {
  let at = 0;
  return () => {
    const frame = new Int16Array(160);
    frame.set(samples.subarray(at, at + 160));
    if (at < samples.length && at + 160 >= samples.length) options.onEnd?.();
    at += 160;
    if (options.loop && at >= samples.length) at = 0;
    return frame;
  };
}
