import type { Agents } from '../lib/guarded-agent.ts';
import type { Side } from './call-audio.ts';
import { Frames, readFrame, type StreamIdentity } from './frames.ts';
import type { Playback } from './playback.ts';
import { Receiver, type Ending } from './receiver.ts';
import { FRAME_MS } from './track.ts';

/** `inbound`: what the caller says. `outbound`: what the caller hears. */
export type StreamTrack = Side | 'both';

/** Why a stream has ended. */
export type StreamEnd =
  'stopped' | 'call_ended' | 'receiver_closed' | 'receiver_unreachable' | 'url_refused' | 'audio_unavailable';

export interface StreamOptions {
  sid: string;
  url: string;
  track: StreamTrack;
  callId: string;
  customerId: string;
  variables: () => Readonly<Record<string, string>>;
  /** Of each upgrade request, which is signed anew. */
  headers: () => Record<string, string>;
  agents: Agents;
  playback: Playback;
  startedAt: Date;
  now: () => Date;
  /** The receiver is connected; `first` on the first time only. */
  onConnected(first: boolean): void;
  onDisconnected(message: string, retryInMs: number): void;
  /** It has ended by itself. */
  onEnd(reason: StreamEnd, message: string): void;
  /** First wait before a receiver is tried again, in ms; doubled each time. */
  retryMs?: number;
  pingMs?: number;
}

const RETRIES = 3;
const RETRY_MS = 1000;
/** A connection that has held so long was a good one: the tries are counted anew. */
const GOOD_MS = 30_000;
/** Timestamps follow the clock when they are so far from it. */
const LEAP_MS = 500;

/**
 * One stream: brings frames to its receiver and what the receiver says back, over as many connections as it
 * takes, up to a bound.
 */
export class Stream {
  readonly #o: StreamOptions;
  readonly #sides: readonly Side[];
  readonly #chunks: Record<Side, number> = { inbound: 0, outbound: 0 };
  #receiver: Receiver | undefined;
  #frames: Frames;
  #connectedAt: number | undefined;
  #greeted = false;
  /** What the timestamps count. */
  #elapsedMs = 0;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #ended = false;
  /**
   * Media frames that went out, and that were left out because the receiver did not read or was not there.
   */
  readonly counts = { framesSent: 0, framesDropped: 0, audioDropped: 0 };

  constructor(options: StreamOptions) {
    this.#o = options;
    this.#sides = options.track === 'both' ? ['inbound', 'outbound'] : [options.track];
    this.#frames = new Frames(this.#identity);
  }

  get sid(): string {
    return this.#o.sid;
  }

  get url(): string {
    return this.#o.url;
  }

  get track(): StreamTrack {
    return this.#o.track;
  }

  get startedAt(): Date {
    return this.#o.startedAt;
  }

  get sides(): readonly Side[] {
    return this.#sides;
  }

  get playback(): Playback {
    return this.#o.playback;
  }

  connect(): void {
    this.#retry = undefined;
    this.#connectedAt = undefined;
    const receiver = new Receiver({
      url: this.#o.url,
      headers: this.#o.headers(),
      agents: this.#o.agents,
      pingMs: this.#o.pingMs,
      onOpen: () => this.#opened(receiver),
      onText: (text) => this.#said(text),
      onEnd: (ending) => this.#lost(ending),
    });
    this.#receiver = receiver;
  }

  /** Every 20 ms, with the next frame of each side that is listened to. */
  tick(audio: Partial<Record<Side, Buffer>>): void {
    const now = this.#o.now().getTime() - this.#o.startedAt.getTime();
    // A beat that is early or late is no news to the receiver, a process that stood still is.
    this.#elapsedMs += FRAME_MS;
    if (Math.abs(now - this.#elapsedMs) > LEAP_MS) this.#elapsedMs = Math.round(now / FRAME_MS) * FRAME_MS;
    for (const side of this.#sides) {
      const frame = audio[side];
      // What was before the first connection is no part of the stream.
      if (!frame || !this.#greeted) continue;
      if (this.#receiver?.send(this.#frames.media(side, ++this.#chunks[side], this.#elapsedMs, frame)))
        this.counts.framesSent++;
      else this.counts.framesDropped++;
    }
    for (const name of this.#o.playback.passed()) this.#receiver?.send(this.#frames.mark(name));
  }

  digit(digit: string): void {
    this.#receiver?.send(this.#frames.dtmf(digit));
  }

  /** Ends it from this side: the receiver is told, and left. */
  end(reason: StreamEnd): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#receiver?.send(this.#frames.stop(reason, this.counts.framesDropped));
    this.#receiver?.close();
  }

  /** This process goes; its next life goes on with the stream. */
  suspend(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#receiver?.close(1001);
  }

  get #identity(): StreamIdentity {
    return {
      streamSid: this.#o.sid,
      callSid: this.#o.callId,
      accountSid: this.#o.customerId,
      tracks: this.#sides,
    };
  }

  #opened(receiver: Receiver): void {
    this.#connectedAt = performance.now();
    this.#frames = new Frames(this.#identity);
    receiver.send(this.#frames.connected());
    receiver.send(this.#frames.start(this.#o.variables()));
    this.#o.onConnected(!this.#greeted);
    this.#greeted = true;
  }

  #said(text: string): void {
    const said = readFrame(text);
    const { playback } = this.#o;
    if (said === undefined) return;
    if (said === 'clear') for (const name of playback.clear()) this.#receiver?.send(this.#frames.mark(name));
    else if ('mark' in said) playback.mark(said.mark);
    else if (!playback.add(said.audio)) this.counts.audioDropped++;
  }

  #lost({ wanted, final, message }: Ending): void {
    if (this.#ended) return;
    this.#receiver = undefined;
    this.#o.playback.clear();
    if (this.#connectedAt !== undefined && performance.now() - this.#connectedAt > GOOD_MS)
      this.#failures = 0;
    if (wanted) return this.#over('receiver_closed', message);
    if (final) return this.#over('url_refused', message);
    if (++this.#failures > RETRIES) return this.#over('receiver_unreachable', message);
    const wait = (this.#o.retryMs ?? RETRY_MS) * 2 ** (this.#failures - 1);
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#o.onDisconnected(message, wait);
  }

  #over(reason: StreamEnd, message: string): void {
    this.#ended = true;
    this.#o.onEnd(reason, message);
  }
}
