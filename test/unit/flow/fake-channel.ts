import { deferred } from '../../../control/lib/deferred.ts';
import {
  ChannelGone,
  type Channel,
  type ChannelEnd,
  type ConferenceEnd,
  type ConferenceOptions,
  type Digit,
  type HangupCause,
  type LegRequest,
  type LegResult,
  type MuteDirection,
} from '../../../control/media/media.ts';

/** A channel without a media node: what is played ends when the test says so. */
export class FakeChannel implements Channel {
  readonly uuid = 'b0b2d7c4-0000-4000-8000-000000000001';
  readonly node = '127.0.0.1:5080';
  /** Everything that was asked of it, in order. */
  readonly asked: string[] = [];
  answered = false;
  answeredAt: Date | undefined;
  /** Prompts end at once unless this is set; then `finishPlaying` ends them. */
  holdPlaying = false;
  #playing: ((how: 'finished' | 'stopped') => void) | undefined;
  #failPlaying: ((error: Error) => void) | undefined;
  readonly #listeners = new Set<(digit: Digit) => void>();
  readonly #ended = deferred<ChannelEnd>();
  #gone = false;
  /** What comes of a bridge that the node cannot dial. */
  legError: Error | undefined;
  /** What the next bridge comes to; left out, it stays until `endLeg`. */
  legResult: LegResult | undefined;
  /** The leg that was asked for last. */
  leg: LegRequest | undefined;
  #leaveRoom: ((end: ConferenceEnd) => void) | undefined;
  #endLeg: ((result: LegResult) => void) | undefined;
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

  async sendDigits(digits: string): Promise<void> {
    this.#check(`digits ${digits}`);
  }

  async mute(direction: MuteDirection): Promise<void> {
    this.#check(`mute ${direction}`);
  }

  async unmute(direction: MuteDirection): Promise<void> {
    this.#check(`unmute ${direction}`);
  }

  async hold(): Promise<void> {
    this.#check('hold');
  }

  async resume(): Promise<void> {
    this.#check('resume');
  }

  async bridge(leg: LegRequest): Promise<LegResult> {
    this.#check(`bridge ${leg.uris.join('|')} from ${leg.from}`);
    this.leg = leg;
    if (this.legError) throw this.legError;
    if (this.legResult) return this.legResult;
    return new Promise((resolve, reject) => {
      this.#endLeg = resolve;
      this.#failPlaying = reject;
    });
  }

  endLeg(result: LegResult): void {
    this.#endLeg?.(result);
  }

  async conference(room: string, { mute, endOnExit, node }: ConferenceOptions): Promise<ConferenceEnd> {
    this.#check(
      `conference ${room} ${String(mute)} ${String(endOnExit)}${node === undefined ? '' : ` at ${node}`}`,
    );
    return new Promise((resolve, reject) => {
      this.#leaveRoom = resolve;
      this.#failPlaying = reject;
    });
  }

  leaveRoom(end: ConferenceEnd): void {
    this.#leaveRoom?.(end);
  }

  async startRecording(file: string): Promise<void> {
    this.#check(`record ${file}`);
  }

  async stopRecording(file: string): Promise<void> {
    this.#check(`stop recording ${file}`);
  }

  async renegotiate(): Promise<void> {
    this.#check('renegotiate');
  }

  async interrupt(): Promise<void> {
    this.#check('interrupt');
    this.#playing?.('stopped');
    this.#endLeg?.({ reached: false, cause: 'ORIGINATOR_CANCEL' });
    this.#leaveRoom?.('left');
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
    this.end({
      by: 'caller',
      cause: this.answered ? 'NORMAL_CLEARING' : 'ORIGINATOR_CANCEL',
      at: new Date(),
    });
  }

  #check(what: string): void {
    if (this.#gone) throw new ChannelGone(this.uuid);
    this.asked.push(what);
  }
}
