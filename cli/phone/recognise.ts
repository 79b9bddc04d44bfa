import { Fourier } from './fourier.ts';

/**
 * Finds a known recording in what was heard, by normalised cross-correlation: indifferent to loudness, G.711,
 * the resampler that made it and the moment it began, but not to the words. Works at 4 kHz after
 * pre-emphasis, so that the formants decide and not the pitch, which all sentences of one voice share.
 *
 * In two steps: pieces of half a second vote for the moments at which the recording may have begun; then
 * every tenth of a second of the recording is looked for at the moments with most votes.
 */
export interface Match {
  /** When the recording began, in ms of the heard audio. Negative when its beginning is missing. */
  startMs: number;
  /** Share of the recording's sounding parts that was heard, 0..1. */
  fraction: number;
  /** Up to which ms of the recording it was heard. */
  heardUntilMs: number;
}

const RATE = 4000;
const PIECE = 2000;
const SEGMENT = 400;
const FFT = 8192;
const LAGS = FFT - PIECE;
const BUCKET = 40;
/**
 * Correlation at which a piece casts a vote, a segment counts as heard where it should be, and elsewhere near
 * by.
 */
const VOTE = 0.4;
const IN_PLACE = 0.7;
const SLIPPED = 0.75;
/** Root mean square below which there is nothing to compare, in 16-bit units after pre-emphasis. */
const FLOOR = 6;

const fourier = new Fourier(FFT);

/** One recording to be looked for in audio that may still be growing. */
export class Recogniser {
  readonly referenceMs: number;
  #reference: Float32Array;
  /**
   * The same, 1/8000 s later: at 4 kHz half a sample is enough to spoil the likeness of the higher formants.
   */
  #between: Float32Array;
  #pieces: { start: number; energy: number; re: Float64Array; im: Float64Array }[] = [];
  #segments: { start: number; energy: number }[] = [];
  #heard = new Float32Array(0);
  #filled = 0;
  #searched = 0;
  #votes = new Map<number, number>();

  /** @param reference 8 kHz, 16 bit. @throws Error when it is silent or shorter than half a second. */
  constructor(reference: Int16Array) {
    this.referenceMs = reference.length / 8;
    this.#reference = halve(reference, 0, Math.floor(reference.length / 2));
    this.#between = halve(reference.subarray(1), 0, this.#reference.length);
    const loudest = this.#rooms(SEGMENT).reduce((most, room) => Math.max(most, room.energy), 0);
    if (loudest < SEGMENT * FLOOR * FLOOR) throw new Error('the reference is silent');
    this.#segments = this.#rooms(SEGMENT).filter(({ energy }) => energy > loudest / 150);
    for (const { start, energy } of this.#rooms(PIECE)) {
      if (energy < loudest / 10) continue;
      const re = new Float64Array(FFT);
      const im = new Float64Array(FFT);
      re.set(this.#reference.subarray(start, start + PIECE));
      fourier.forward(re, im);
      this.#pieces.push({ start, energy, re, im });
    }
    if (this.#pieces.length === 0) throw new Error('the reference is shorter than half a second');
  }

  #rooms(size: number): { start: number; energy: number }[] {
    const count = Math.floor(this.#reference.length / size);
    return Array.from({ length: count }, (_, i) => ({
      start: i * size,
      energy: energyOf(this.#reference, i * size, size),
    }));
  }

  /**
   * Takes what is new in `heard`: the whole of the audio so far, 8 kHz, of which earlier parts no longer
   * change.
   */
  listen(heard: Int16Array): void {
    const available = Math.max(0, Math.floor((heard.length - 16) / 2));
    if (available > this.#filled) {
      if (available > this.#heard.length) {
        const larger = new Float32Array(available * 2);
        larger.set(this.#heard);
        this.#heard = larger;
      }
      this.#heard.set(halve(heard, this.#filled, available), this.#filled);
      this.#filled = available;
    }
    // The last piece of the audio is searched when it is whole; a start is late by half a second at most.
    while (this.#filled - PIECE > this.#searched) {
      const lags = Math.min(LAGS, this.#filled - PIECE - this.#searched);
      this.#vote(this.#searched, lags);
      this.#searched += lags;
    }
  }

  #vote(from: number, lags: number): void {
    const window = this.#heard.subarray(from, from + lags + PIECE);
    const re = new Float64Array(FFT);
    const im = new Float64Array(FFT);
    re.set(window);
    fourier.forward(re, im);
    const energies = runningEnergy(window, PIECE);
    for (const piece of this.#pieces) {
      const pr = new Float64Array(FFT);
      const pi = new Float64Array(FFT);
      for (let i = 0; i < FFT; i++) {
        const [a, b, c, d] = [num(re, i), num(im, i), num(piece.re, i), num(piece.im, i)];
        pr[i] = a * c + b * d;
        pi[i] = b * c - a * d;
      }
      fourier.inverse(pr, pi);
      for (let lag = 0; lag < lags; lag++) {
        const energy = num(energies, lag);
        if (energy < PIECE * FLOOR * FLOOR) continue;
        const likeness = num(pr, lag) / Math.sqrt(energy * piece.energy);
        if (
          likeness < VOTE ||
          num(pr, lag) < num(pr, Math.max(0, lag - 1)) ||
          num(pr, lag) < num(pr, lag + 1)
        )
          continue;
        const bucket = Math.round((from + lag - piece.start) / BUCKET);
        this.#votes.set(bucket, (this.#votes.get(bucket) ?? 0) + likeness);
      }
    }
  }

  /** The best match so far; fraction 0 when there is none. */
  best(): Match {
    return this.#candidates(4).reduce((best, match) => (match.fraction > best.fraction ? match : best), {
      startMs: 0,
      fraction: 0,
      heardUntilMs: 0,
    });
  }

  /** Every time the recording was heard, in order. */
  occurrences(minFraction = 0.9): Match[] {
    const found: Match[] = [];
    for (const match of this.#candidates(40).sort((a, b) => b.fraction - a.fraction)) {
      const apart = found.every((other) => Math.abs(other.startMs - match.startMs) > this.referenceMs / 2);
      if (match.fraction >= minFraction && apart) found.push(match);
    }
    return found.sort((a, b) => a.startMs - b.startMs);
  }

  /** Looks closer at the moments with most votes, none of them within 60 ms of a better one. */
  #candidates(count: number): Match[] {
    const near = (bucket: number): number =>
      [-1, 0, 1].reduce((sum, d) => sum + (this.#votes.get(bucket + d) ?? 0), 0);
    const ranked = [...this.#votes.keys()]
      .map((bucket) => ({ bucket, votes: near(bucket) }))
      .sort((a, b) => b.votes - a.votes);
    const chosen: number[] = [];
    for (const { bucket } of ranked) {
      if (chosen.length >= count) break;
      if (chosen.every((other) => Math.abs(other - bucket) > 6)) chosen.push(bucket);
    }
    return chosen.map((bucket) => this.#follow(bucket * BUCKET));
  }

  /**
   * Looks for the recording's segments as if it had begun at `lag`, and from the first one found follows it
   * forwards and backwards: the far end's clock may slip by some packets on the way.
   */
  #follow(lag: number): Match {
    const origin = this.#segments.findIndex(
      (segment) => this.#find(segment, lag, 24, IN_PLACE) !== undefined,
    );
    const lags: number[] = [];
    let until = 0;
    const walk = (segments: { start: number; energy: number }[]): void => {
      let at = lag;
      for (const segment of segments) {
        const found = this.#find(segment, at, 24, IN_PLACE) ?? this.#find(segment, at, 180, SLIPPED);
        if (found === undefined) continue;
        at = found;
        lags.push(found);
        until = Math.max(until, segment.start + SEGMENT);
      }
    };
    if (origin >= 0) {
      walk(this.#segments.slice(origin));
      walk(this.#segments.slice(0, origin).reverse());
    }
    // The one in the middle: a vowel alone can be off by a period of the voice.
    const start = lags.sort((a, b) => a - b)[Math.floor(lags.length / 2)] ?? lag;
    return {
      startMs: (1000 * start) / RATE,
      fraction: lags.length / this.#segments.length,
      heardUntilMs: (1000 * until) / RATE,
    };
  }

  #find(
    segment: { start: number; energy: number },
    around: number,
    reach: number,
    least: number,
  ): number | undefined {
    let best = least;
    let found: number | undefined;
    for (let lag = around - reach; lag <= around + reach; lag++) {
      const start = lag + segment.start;
      if (start < 0 || start + SEGMENT > this.#filled) continue;
      let dot = 0;
      let dotBetween = 0;
      let energy = 0;
      for (let i = 0; i < SEGMENT; i++) {
        const y = this.#heard[start + i] as number;
        dot += y * (this.#reference[segment.start + i] as number);
        dotBetween += y * (this.#between[segment.start + i] as number);
        energy += y * y;
      }
      if (energy < SEGMENT * FLOOR * FLOOR) continue;
      const likeness = Math.max(dot, dotBetween) / Math.sqrt(energy * segment.energy);
      if (likeness > best) {
        best = likeness;
        found = lag;
      }
    }
    return found;
  }
}

/** The best match of a recording in audio that is complete; both 8 kHz, 16 bit. */
export function recognise(heard: Int16Array, reference: Int16Array): Match {
  const recogniser = new Recogniser(reference);
  recogniser.listen(heard);
  return recogniser.best();
}

const num = (array: Float64Array, index: number): number => array[index] as number;

const TAPS = Float64Array.from({ length: 31 }, (_, i) => {
  const x = i - 15;
  const sinc = x === 0 ? 1 : Math.sin((Math.PI * x) / 2.2) / ((Math.PI * x) / 2.2);
  return (sinc / 2.2) * (0.54 + 0.46 * Math.cos((Math.PI * x) / 16));
});

/** 8 kHz to 4 kHz (low pass at 1.8 kHz) with pre-emphasis: output samples `from` to `to`. */
function halve(input: Int16Array, from: number, to: number): Float32Array {
  const low = (n: number): number => {
    let sum = 0;
    for (let tap = 0; tap < 31; tap++) sum += num(TAPS, tap) * (input[2 * n + tap - 15] ?? 0);
    return sum;
  };
  const output = new Float32Array(to - from);
  let before = low(from - 1);
  for (let n = from; n < to; n++) {
    const now = low(n);
    output[n - from] = now - 0.9 * before;
    before = now;
  }
  return output;
}

function energyOf(samples: Float32Array, start: number, length: number): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += (samples[i] as number) ** 2;
  return sum;
}

/** Energy of the `length` samples that begin at each sample. */
function runningEnergy(samples: Float32Array, length: number): Float64Array {
  const sums = new Float64Array(samples.length + 1);
  samples.forEach((sample, i) => (sums[i + 1] = num(sums, i) + sample * sample));
  return Float64Array.from(
    { length: samples.length - length + 1 },
    (_, i) => num(sums, i + length) - num(sums, i),
  );
}
