import { FRAME_SAMPLES, SAMPLES, SILENCE, type G711 } from '../rtp/g711.ts';
import { readAs, type AudioSource, type FrameFilter, type RtpSession } from '../rtp/session.ts';
import type { WavWriter } from '../media/wav-writer.ts';
import { Player } from './player.ts';

/** Music or the like in place of what the caller would hear, and of what he says. */
interface Displacement {
  source: AudioSource;
  onEnd: () => void;
}

/**
 * Frames that were skipped are made up for in a recording up to this; a longer stop of the machine is no part
 * of the call.
 */
const MAX_SKIPPED = 500;

/**
 * All the audio of a channel: what plays, and what is done to either direction on its way. `read` is what the
 * caller says, `write` what he hears.
 */
export class ChannelAudio implements FrameFilter {
  readonly player: Player = new Player();
  readonly #muted = { read: false, write: false };
  readonly #displacements = new Map<string, Displacement>();
  readonly #recordings = new Map<WavWriter, { last: number | undefined }>();
  readonly #mono = new Int16Array(FRAME_SAMPLES);
  readonly #stereo = new Int16Array(2 * FRAME_SAMPLES);
  #rtp: RtpSession | undefined;

  attach(rtp: RtpSession): void {
    this.#rtp = rtp;
    this.player.attach(rtp);
    this.#arm();
  }

  get rtp(): RtpSession | undefined {
    return this.#rtp;
  }

  /** Number of the frame that is due now. */
  get frame(): number {
    return this.#rtp?.frame ?? 0;
  }

  get law(): G711 {
    return this.#rtp?.agreement?.codec ?? 'PCMU';
  }

  get muted(): boolean {
    return this.#muted.read || this.#muted.write;
  }

  mute(direction: 'read' | 'write', muted: boolean): void {
    this.#muted[direction] = muted;
    this.#arm();
  }

  unmute(): void {
    this.#muted.read = this.#muted.write = false;
    this.#arm();
  }

  get displaced(): IterableIterator<string> {
    return this.#displacements.keys();
  }

  /** @param onEnd called when the source ends by itself */
  displace(name: string, source: AudioSource, onEnd: () => void): void {
    this.#displacements.set(name, { source, onEnd });
    this.#arm();
  }

  /** @returns false when there is no such displacement */
  replace(name: string): boolean {
    const was = this.#displacements.delete(name);
    this.#arm();
    return was;
  }

  record(writer: WavWriter): void {
    this.#recordings.set(writer, { last: undefined });
    this.#arm();
  }

  stopRecording(writer: WavWriter): void {
    this.#recordings.delete(writer);
    this.#arm();
  }

  /**
   * What the caller says in this frame of the clock, as others get to hear it; undefined for silence. Valid
   * until the next.
   */
  said(frame: number): Buffer | undefined {
    if (this.#muted.read || this.#displacements.size > 0) return undefined;
    return this.#rtp?.received(frame);
  }

  /** The caller's next frame on its way out. */
  pass(packet: Buffer, offset: number, frame: number): void {
    const silence = SILENCE[this.law];
    for (const [name, displacement] of this.#displacements) {
      const written = readAs(this.law, displacement.source, packet, offset);
      if (written < FRAME_SAMPLES) packet.fill(silence, offset + written, offset + FRAME_SAMPLES);
      if (written > 0) continue;
      this.replace(name);
      displacement.onEnd();
    }
    if (this.#muted.write) packet.fill(silence, offset, offset + FRAME_SAMPLES);
    for (const [writer, state] of this.#recordings) {
      const skipped = state.last === undefined ? 0 : Math.min(frame - state.last - 1, MAX_SKIPPED);
      state.last = frame;
      this.#write(writer, this.said(frame), packet, offset, skipped);
    }
  }

  #write(writer: WavWriter, said: Buffer | undefined, packet: Buffer, offset: number, skipped: number): void {
    const table = SAMPLES[this.law];
    const stereo = writer.channels === 2;
    const frame = stereo ? this.#stereo : this.#mono;
    if (skipped > 0) {
      frame.fill(0);
      for (let i = 0; i < skipped; i++) writer.add(frame);
    }
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const left = said ? (table[said[i] ?? 0] ?? 0) : 0;
      const right = table[packet[offset + i] ?? 0] ?? 0;
      if (stereo) {
        frame[2 * i] = left;
        frame[2 * i + 1] = right;
      } else frame[i] = Math.max(-32_768, Math.min(32_767, left + right));
    }
    writer.add(frame);
  }

  /** Without anything to do the frame goes out as it is. */
  #arm(): void {
    if (!this.#rtp) return;
    this.#rtp.filter =
      this.#muted.write || this.#displacements.size > 0 || this.#recordings.size > 0 ? this : undefined;
  }
}
