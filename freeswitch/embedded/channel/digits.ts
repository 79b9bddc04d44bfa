import { clampDuration, DEFAULT_DURATION, type Digit, type DigitSource } from '../rtp/telephone-event.ts';
import type { Call } from './call.ts';

/** Keys nobody has taken yet; beyond this the oldest are forgotten. */
const MAX_DIGITS = 100;

/** Keys a caller has pressed. A DTMF event tells of one when it is taken: by the park or by a playback. */
export class DigitQueue {
  readonly #channel: Call;
  readonly #waiting: { digit: Digit; source: DigitSource }[] = [];
  #taken = '';
  #pass: ((digit: Digit) => void) | undefined;

  constructor(channel: Call) {
    this.#channel = channel;
  }

  /** The keys taken so far, the last hundred at most. */
  get dialed(): string {
    return this.#taken;
  }

  push(digit: Digit, source: DigitSource): void {
    if (this.#waiting.length >= MAX_DIGITS) this.#waiting.shift();
    this.#waiting.push({ digit, source });
    this.take();
  }

  /** Keys as if the caller had pressed them, `123@100` with 100 ms each. @returns whether there was one */
  inject(text: string): boolean {
    const [keys = '', ms] = text.split('@');
    const duration = clampDuration(ms ? (parseInt(ms, 10) || 0) * 8 : DEFAULT_DURATION);
    const valid = [...keys.toUpperCase()].filter((key) => /[0-9*#A-D]/.test(key));
    for (const digit of valid) this.push({ digit, duration }, 'APP');
    return valid.length > 0;
  }

  /** From now on keys go there, whatever waits; undefined: no more. */
  passTo(pass: ((digit: Digit) => void) | undefined): void {
    this.#pass = pass;
    this.take();
  }

  flush(): void {
    this.#waiting.length = 0;
  }

  /** Gives waiting keys to whatever takes them now: the park, a playback, or nobody yet. */
  take(): void {
    const channel = this.#channel;
    while (this.#waiting.length > 0 && !channel.down) {
      const pass = this.#pass;
      const wait = pass ? undefined : channel.executor.waiting;
      if (!pass && !wait && !channel.executor.parkedIdle) return;
      if (wait && !wait.onDigit) {
        if (wait.endsAtKey) wait.settle('break');
        return;
      }
      const next = this.#waiting.shift();
      if (!next) return;
      this.#taken = (this.#taken + next.digit.digit).slice(-MAX_DIGITS);
      channel.emit(
        'DTMF',
        { file: 'switch_channel.c', fn: 'switch_channel_dequeue_dtmf', line: 677 },
        {
          'DTMF-Digit': next.digit.digit,
          'DTMF-Duration': String(next.digit.duration),
          'DTMF-Source': next.source,
        },
      );
      pass?.(next.digit);
      if (wait?.onDigit?.(next.digit.digit)) {
        wait.settle('break');
        return;
      }
    }
  }
}
