import { setImmediate } from 'node:timers/promises';
import { clip, type Audio } from './wav.ts';

/** Zero crossings of the filter on either side: the more, the steeper. */
const CROSSINGS = 24;
/**
 * The filter's edge as a share of the lower of the two Nyquist frequencies: at 8 kHz all of a telephone's 3.4
 * kHz pass.
 */
const EDGE = 0.92;
/** Shape of the Kaiser window: 80 dB of what would alias is taken away. */
const BETA = 8;
/** Multiplications between two chances for everybody else on the event loop, about 10 ms of them. */
const BURST = 8_000_000;

/**
 * Changes the sample rate by a low-pass FIR filter (windowed sinc, in its polyphase form). Long audio is done
 * piece by piece, so that calls go on meanwhile.
 */
export async function resample(audio: Audio, rate: number): Promise<Audio> {
  if (audio.rate === rate) return audio;
  const { samples } = audio;
  const divisor = gcd(audio.rate, rate);
  const phases = rate / divisor;
  const step = audio.rate / divisor;
  const filter = new PolyphaseFilter(audio.rate, rate, phases);
  const result = new Int16Array(Math.floor((samples.length * rate) / audio.rate));
  const pause = Math.max(1, Math.floor(BURST / filter.taps));
  for (let i = 0; i < result.length; i++) {
    if (i % pause === pause - 1) await setImmediate();
    // Output i lies at i·step/phases of the input: a whole sample, and one of `phases` fractions behind it.
    const position = i * step;
    const coefficients = filter.at(position % phases);
    const first = Math.floor(position / phases) - filter.half + 1;
    let sum = 0;
    for (let tap = 0; tap < coefficients.length; tap++)
      sum += (samples[first + tap] ?? 0) * (coefficients[tap] ?? 0);
    result[i] = clip(sum);
  }
  return { rate, samples: result };
}

/** The coefficients for every fraction of a sample, each made when it is first needed. */
class PolyphaseFilter {
  readonly half: number;
  readonly #phases: number;
  readonly #edge: number;
  readonly #made = new Map<number, Float64Array>();

  constructor(from: number, to: number, phases: number) {
    this.#phases = phases;
    this.#edge = EDGE * Math.min(1, to / from);
    this.half = Math.ceil(CROSSINGS / this.#edge);
  }

  get taps(): number {
    return 2 * this.half;
  }

  at(phase: number): Float64Array {
    let made = this.#made.get(phase);
    if (!made) this.#made.set(phase, (made = this.#make(phase / this.#phases)));
    return made;
  }

  #make(fraction: number): Float64Array {
    const coefficients = new Float64Array(this.taps);
    let sum = 0;
    for (let tap = 0; tap < coefficients.length; tap++) {
      const distance = tap - (this.half - 1) - fraction;
      const x = Math.PI * this.#edge * distance;
      const value = (x === 0 ? 1 : Math.sin(x) / x) * kaiser(distance / this.half);
      coefficients[tap] = value;
      sum += value;
    }
    // Every phase passes a constant unchanged, or the phases would be heard as a tone.
    return coefficients.map((value) => value / sum);
  }
}

function kaiser(x: number): number {
  return Math.abs(x) >= 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
}

/** Modified Bessel function of the first kind, order zero, by its series. */
function bessel(x: number): number {
  let sum = 1;
  for (let k = 1, term = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
