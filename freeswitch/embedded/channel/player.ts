import type { AudioSource, RtpSession } from '../rtp/session.ts';

interface Playing {
  source: AudioSource;
  onEnd: () => void;
}

/** What plays on a channel. A source started while another plays goes first; the other goes on behind it. */
export class Player {
  readonly #stack: Playing[] = [];
  #rtp: RtpSession | undefined;

  attach(rtp: RtpSession): void {
    this.#rtp = rtp;
    this.#top();
  }

  start(source: AudioSource, onEnd: () => void): void {
    this.#stack.push({ source, onEnd });
    this.#top();
  }

  stop(source: AudioSource): void {
    const index = this.#stack.findIndex((playing) => playing.source === source);
    if (index < 0) return;
    this.#stack.splice(index, 1);
    this.#top();
  }

  #top(): void {
    const playing = this.#stack.at(-1);
    if (playing) this.#rtp?.play(playing.source, playing.onEnd);
    else this.#rtp?.play(undefined);
  }
}
