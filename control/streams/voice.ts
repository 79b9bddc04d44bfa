import { MULAW, MULAW_SILENCE, toMulaw } from '../lib/g711.ts';
import { FRAME } from './track.ts';
import { RtpWriter } from './rtp.ts';

/** What a voice needs of rtpengine and of the network. */
export interface VoiceLine {
  /** Makes the way to the caller, once; resolves when audio can be sent. */
  connect(): Promise<void>;
  /** While blocked, the caller hears nothing of the media node; keys it sends pass. */
  block(blocked: boolean): Promise<void>;
  send(packet: Buffer): void;
  /** Told when the way cannot be made. */
  failed(error: unknown): void;
}

/** A pause this long, in frames, does not end a burst: the media node is heard again after it. */
const PAUSE_FRAMES = 10;
/** After a failure the next try waits so long, in frames: 5 s. */
const FAILED_FRAMES = 250;
/**
 * What is asked of rtpengine is asked again this often while the voice speaks, in frames: a new answer to the
 * call may have undone it.
 */
const REMIND_FRAMES = 50;

/**
 * What receivers say to the caller of one call. It takes the place of whatever the media node plays
 * meanwhile: rtpengine is told to pass the one and block the other for as long as a burst of audio lasts.
 * Mixing both in rtpengine's own audio player was tried: it swallows the keys that the node sends, and leaves
 * telephone events out of the next re-INVITE's answer.
 */
export class Voice {
  readonly #line: VoiceLine;
  readonly #rtp = new RtpWriter();
  #state: 'idle' | 'opening' | 'speaking' | 'failed' = 'idle';
  #position = 0;
  #silent = 0;
  #frames = 0;
  #closed = false;

  constructor(line: VoiceLine) {
    this.#line = line;
  }

  /**
   * Whether frames are taken at this moment. A voice that has failed takes them to nowhere, so that nobody
   * waits for it.
   */
  get taking(): boolean {
    return this.#state === 'speaking' || this.#state === 'failed';
  }

  /** There is something to be said. */
  want(): void {
    if (this.#state !== 'idle' || this.#closed) return;
    this.#state = 'opening';
    this.#silent = 0;
    this.#frames = 0;
    void this.#open();
  }

  /**
   * Every 20 ms, with what each receiver has to say.
   * @returns what the caller hears, unless it is the media node.
   */
  tick(frames: readonly Buffer[]): Buffer | undefined {
    this.#position += FRAME;
    if (this.#state === 'failed' && ++this.#frames > FAILED_FRAMES) this.#state = 'idle';
    if (this.#state !== 'speaking') return undefined;
    this.#silent = frames.length > 0 ? 0 : this.#silent + 1;
    if (this.#silent > PAUSE_FRAMES) {
      this.#state = 'idle';
      void this.#line.block(false).catch((error: unknown) => this.#line.failed(error));
      return undefined;
    }
    const frame = mixed(frames);
    this.#line.send(this.#rtp.packet(frame, this.#position, this.#frames++ === 0));
    if (this.#frames % REMIND_FRAMES === 0) void this.#line.block(true).catch(() => undefined);
    return frame;
  }

  /** Nothing is said any more. */
  close(): void {
    this.#closed = true;
    this.#state = 'idle';
  }

  async #open(): Promise<void> {
    try {
      await this.#line.connect();
      await this.#line.block(true);
      if (this.#state === 'opening') this.#state = 'speaking';
    } catch (error) {
      this.#line.failed(error);
      if (this.#state === 'opening') this.#state = 'failed';
    }
  }
}

function mixed(frames: readonly Buffer[]): Buffer {
  const [first = Buffer.alloc(FRAME, MULAW_SILENCE), ...others] = frames;
  if (others.length === 0) return first;
  return Buffer.from(
    first.map((_, i) =>
      toMulaw(frames.reduce((sum, frame) => sum + (MULAW[frame[i] ?? MULAW_SILENCE] ?? 0), 0)),
    ),
  );
}
