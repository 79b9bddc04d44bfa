import { Recogniser, recognise, type Match } from './recognise.ts';
import { Watched } from './wait.ts';

/**
 * A packet further than this from where its arrival puts it begins a new stretch of audio; less is jitter.
 */
const JITTER_MS = 1000;

/**
 * What a phone has heard: 8 kHz audio on one clock that starts with the first packet, and questions about it.
 */
export class Heard extends Watched {
  /** Wall clock of the first packet. */
  since: Date | undefined;
  /** Keys that came as telephone events, in order. */
  keys = '';
  /** When each packet came, in ms since the first. */
  readonly arrivals: number[] = [];
  #pcm = new Int16Array(8000);
  #length = 0;
  #start = 0;
  #anchor: { ssrc: number; timestamp: number; position: number } | undefined;

  /** @param arrivedMs of a monotonic clock. */
  add(samples: Int16Array, rtp: { ssrc: number; timestamp: number }, arrivedMs: number): void {
    if (!this.since) {
      this.since = new Date();
      this.#start = arrivedMs;
    }
    const elapsed = arrivedMs - this.#start;
    this.arrivals.push(elapsed);
    const arrived = Math.round(elapsed * 8);
    let anchor = this.#anchor;
    let position = anchor ? anchor.position + ((rtp.timestamp - anchor.timestamp) | 0) : 0;
    if (!anchor || anchor.ssrc !== rtp.ssrc || Math.abs(position - arrived) > JITTER_MS * 8 || position < 0) {
      position = Math.max(this.#length, arrived);
      anchor = { ssrc: rtp.ssrc, timestamp: rtp.timestamp, position };
      this.#anchor = anchor;
    }
    const end = position + samples.length;
    if (end > this.#pcm.length) {
      const larger = new Int16Array(end * 2);
      larger.set(this.#pcm);
      this.#pcm = larger;
    }
    this.#pcm.set(samples, position);
    this.#length = Math.max(this.#length, end);
    this.changed();
  }

  addKey(key: string): void {
    this.keys += key;
    this.changed();
  }

  get durationMs(): number {
    return this.#length / 8;
  }

  get packets(): number {
    return this.arrivals.length;
  }

  /** A view of the audio between two moments, in ms. */
  pcm(fromMs = 0, toMs = this.durationMs): Int16Array {
    return this.#pcm.subarray(
      Math.max(0, Math.round(fromMs * 8)),
      Math.min(this.#length, Math.round(toMs * 8)),
    );
  }

  /** Stretches longer than `minMs` in which no packet came. */
  gaps(minMs = 60): { fromMs: number; toMs: number }[] {
    return this.arrivals.slice(1).flatMap((toMs, i) => {
      const fromMs = this.arrivals[i] ?? 0;
      return toMs - fromMs > minMs ? [{ fromMs, toMs }] : [];
    });
  }

  /** The best match of a reference (8 kHz) in all that was heard. */
  recognises(reference: Int16Array): Match {
    return recognise(this.pcm(), reference);
  }

  /** Every time the reference was heard at least to this fraction, in order. */
  occurrences(reference: Int16Array, minFraction = 0.9): Match[] {
    const recogniser = new Recogniser(reference);
    recogniser.listen(this.pcm());
    return recogniser.occurrences(minFraction);
  }

  /** Share of the time (20 ms frames) in which a tone of this frequency was most of what sounded, 0..1. */
  tone(frequency: number, fromMs = 0, toMs = this.durationMs): number {
    const frames = framesOf(this.pcm(fromMs, toMs));
    return frames.length === 0
      ? 0
      : frames.filter((frame) => isTone(frame, frequency)).length / frames.length;
  }

  /** Whether nothing sounded: quieter than −50 dBFS in every 20 ms. Packets need not have come. */
  silence(fromMs = 0, toMs = this.durationMs): boolean {
    return framesOf(this.pcm(fromMs, toMs)).every((frame) => level(frame) < 100);
  }

  /** Root mean square of the loudest 20 ms, in 16-bit units. */
  loudest(fromMs = 0, toMs = this.durationMs): number {
    return framesOf(this.pcm(fromMs, toMs)).reduce((most, frame) => Math.max(most, level(frame)), 0);
  }

  /**
   * Resolves as soon as this much of the reference was heard: with fraction 0.3 while it is still being said.
   * @param options.sinceMs what was heard earlier does not count (default 0).
   * @throws Error when the time is up, with how much was heard.
   */
  async waitUntilHears(
    reference: Int16Array,
    options: { fraction?: number; timeoutMs?: number; sinceMs?: number } = {},
  ): Promise<Match> {
    const { fraction = 0.9, timeoutMs = 15_000, sinceMs = 0 } = options;
    const recogniser = new Recogniser(reference);
    let looked = -200;
    let best: Match | undefined;
    const listen = (): Match | undefined => {
      looked = this.durationMs - sinceMs;
      recogniser.listen(this.pcm(sinceMs));
      best = recogniser.best();
      return best.fraction >= fraction ? { ...best, startMs: best.startMs + sinceMs } : undefined;
    };
    try {
      // Five times a second is enough, and leaves the processor to the call.
      return await this.until(
        () => (this.durationMs - sinceMs < looked + 200 ? undefined : listen()),
        'it',
        timeoutMs,
      );
    } catch (error) {
      const late = listen();
      if (late) return late;
      const wanted = `${fraction} of a prompt of ${Math.round(recogniser.referenceMs)} ms`;
      const got = `${best?.fraction.toFixed(2) ?? 0} of it in ${Math.round(this.durationMs - sinceMs)} ms`;
      throw new Error(
        `did not hear ${wanted}, heard ${got}: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    }
  }

  /** Resolves when the tone has sounded for this long in one piece. */
  async waitUntilTone(frequency: number, forMs = 300, timeoutMs = 10_000): Promise<void> {
    await this.until(
      () => {
        const enough = this.durationMs >= forMs && this.tone(frequency, this.durationMs - forMs) > 0.9;
        return enough || undefined;
      },
      `a tone of ${frequency} Hz`,
      timeoutMs,
    );
  }

  /** Resolves when these keys have come as telephone events. */
  async waitUntilKeys(keys: string, timeoutMs = 10_000): Promise<void> {
    await this.until(
      () => this.keys.includes(keys) || undefined,
      () => `the keys ${keys}; got "${this.keys}"`,
      timeoutMs,
    );
  }
}

function framesOf(pcm: Int16Array): Int16Array[] {
  return Array.from({ length: Math.floor(pcm.length / 160) }, (_, i) => pcm.subarray(i * 160, (i + 1) * 160));
}

const level = (frame: Int16Array): number =>
  Math.sqrt(frame.reduce((sum, sample) => sum + sample * sample, 0) / frame.length);

/**
 * Goertzel: whether more than half of the frame's energy is at this frequency (within some 50 Hz at 20 ms).
 */
function isTone(frame: Int16Array, frequency: number): boolean {
  const coefficient = 2 * Math.cos((2 * Math.PI * frequency) / 8000);
  let before = 0;
  let last = 0;
  let energy = 0;
  for (const sample of frame) {
    const now = sample + coefficient * last - before;
    before = last;
    last = now;
    energy += sample * sample;
  }
  const power = last * last + before * before - coefficient * last * before;
  return energy > frame.length * 100 * 100 && power / ((energy * frame.length) / 2) > 0.5;
}
