import { FRAME_SAMPLES, SILENCE, transcodeInto } from '../rtp/g711.ts';
import type { AudioSource } from '../rtp/session.ts';
import type { ChannelAudio } from './audio.ts';

/** What one channel says, for another to hear. */
export class BridgedSource implements AudioSource {
  readonly #from: ChannelAudio;
  readonly #to: ChannelAudio;

  constructor(from: ChannelAudio, to: ChannelAudio) {
    this.#from = from;
    this.#to = to;
  }

  read(target: Buffer, offset: number): number {
    const said = this.#from.said(this.#to.frame);
    if (said) transcodeInto(this.#from.law, said, this.#to.law, target, offset);
    else target.fill(SILENCE[this.#to.law], offset, offset + FRAME_SAMPLES);
    return FRAME_SAMPLES;
  }
}
