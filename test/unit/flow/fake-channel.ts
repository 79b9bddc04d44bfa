import { deferred } from '../../../control/lib/deferred.ts';
import { ChannelGone, type Channel, type ChannelEnd, type Digit, type HangupCause } from '../../../control/media/media.ts';

/** A channel without a media node: what is played ends when the test says so. */
export class FakeChannel implements Channel {
  readonly uuid = 'b0b2d7c4-0000-4000-8000-000000000001';
  readonly node = '127.0.0.1:5080';
  /** Everything that was asked of it, in order. */
  readonly asked: string[] = [];
  answered = false;
  /** Prompts end at once unless this is set; then `finishPlaying` ends them. */
  holdPlaying = false;
  #playing: ((how: 'finished' | 'stopped') => void) | undefined;
  #failPlaying: ((error: Error) => void) | undefined;
  readonly #listeners = new Set<(digit: Digit) => void>();
  readonly #ended = deferred<ChannelEnd>();
  #gone = false;
  /** Set to make the next playback fail. */
  refusePlaying: Error | undefined;

  get ended(): Promise<ChannelEnd> {
    return this.#ended.promise;
  }

  async answer(): Promise<void> {
    this.#check('answer');
    this.answered = true;
  }

  async play(source: string): Promise<'finished' | 'stopped'> {
    this.#check(`play ${source}`);
    if (this.refusePlaying) throw this.refusePlaying;
    if (!this.holdPlaying) return 'finished';
    return new Promise((resolve, reject) => {
      this.#playing = resolve;
      this.#failPlaying = reject;
    });
  }

  async stopPlaying(): Promise<void> {
    this.#check('stop');
    this.#playing?.('stopped');
  }

  async refuse(sipCode: number): Promise<void> {
    this.#check(`refuse ${sipCode}`);
    this.end({ by: 'platform', cause: 'CALL_REJECTED', sipCode, at: new Date() });
  }

  async hangup(cause: HangupCause): Promise<void> {
    this.#check(`hangup ${cause}`);
    this.end({ by: 'platform', cause, at: new Date() });
  }

  onDigit(listener: (digit: Digit) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listening(): boolean {
    return this.#listeners.size > 0;
  }

  finishPlaying(): void {
    this.#playing?.('finished');
  }

  press(...digits: Digit[]): void {
    for (const digit of digits) for (const listener of [...this.#listeners]) listener(digit);
  }

  end(end: ChannelEnd): void {
    this.#gone = true;
    this.#failPlaying?.(new ChannelGone(this.uuid));
    this.#ended.resolve(end);
  }

  callerHangsUp(): void {
    this.end({ by: 'caller', cause: this.answered ? 'NORMAL_CLEARING' : 'ORIGINATOR_CANCEL', at: new Date() });
  }

  #check(what: string): void {
    if (this.#gone) throw new ChannelGone(this.uuid);
    this.asked.push(what);
  }
}
