import { codecOf, type Codec } from '../../cli/phone/codec.ts';
import type { RtpPort } from '../../cli/phone/rtp-port.ts';
import { readSdp, writeSdp, type AudioDescription, type Direction } from './sdp.ts';
import type { SipMessage } from '../../cli/phone/sip-message.ts';

export interface AudioSettings {
  codecs: readonly Codec[];
  /** Payload type of telephone events; undefined offers none. */
  eventType: number | undefined;
  /** What this side makes of its SDP before it is sent. */
  rewrite?: ((sdp: string) => string) | undefined;
}

/** Offer and answer (RFC 3264) of a call's one audio stream, and the RTP port that follows them. */
export class CallAudio {
  /** Of the far end, as last described. */
  remote: AudioDescription | undefined;
  #rtp: RtpPort;
  #settings: AudioSettings;
  #version = 0;

  constructor(rtp: RtpPort, settings: AudioSettings) {
    this.#rtp = rtp;
    this.#settings = settings;
    if (settings.eventType !== undefined) rtp.eventType = settings.eventType;
    rtp.codec = settings.codecs[0] ?? 'PCMU';
  }

  /**
   * SDP of this side: all it can while nothing is known of the far end, then what both can; or this one
   * codec.
   */
  describe(direction: Direction, only?: Codec): string {
    const { codecs, eventType } = this.#settings;
    const offered = this.remote?.payloadTypes;
    const common = offered
      ? codecs.filter((codec) => offered.some((type) => codecOf(type) === codec))
      : codecs;
    const event = offered ? this.remote?.eventType : eventType;
    this.#version++;
    const sdp = writeSdp(
      { host: this.#rtp.address, port: this.#rtp.port },
      {
        codecs: only ? [only] : common,
        eventType: eventType === undefined ? undefined : event,
        direction,
        session: 1,
        version: this.#version,
      },
    );
    return this.#settings.rewrite?.(sdp) ?? sdp;
  }

  /** SDP in answer to the last offer, with its direction seen from here (RFC 3264 §6.1). */
  answer(): string {
    const offered = this.remote?.direction ?? 'sendrecv';
    return this.describe(offered === 'sendonly' ? 'recvonly' : offered === 'recvonly' ? 'sendonly' : offered);
  }

  /** Follows the far end's SDP, and starts to send. @throws Error when there is no common codec. */
  take(message: SipMessage): void {
    const audio = readSdp(message.body);
    const codec = audio.payloadTypes
      .map(codecOf)
      .find((name) => name !== undefined && this.#settings.codecs.includes(name));
    if (!codec) throw new Error(`no common codec in ${audio.payloadTypes.join(' ')}`);
    this.remote = audio;
    this.#rtp.codec = codec;
    if (audio.eventType !== undefined) this.#rtp.eventType = audio.eventType;
    this.#rtp.remote = { host: audio.host, port: audio.port };
    this.#rtp.start();
  }
}
