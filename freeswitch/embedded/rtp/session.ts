import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { lookupNow } from '../sip/transport.ts';
import type { AudioAgreement } from '../sip/sdp.ts';
import type { FrameClock, Ticker } from './clock.ts';
import { FRAME_SAMPLES, SILENCE, transcodeInto, type G711 } from './g711.ts';
import type { PortRange } from './ports.ts';
import { AudioReceiver } from './receiver.ts';
import { EventReceiver, EventSender, type Digit } from './telephone-event.ts';

/** Audio to send, already encoded. */
export interface AudioSource {
  /**
   * The law it writes, where it has one of its own; without one it writes what its reader has at the moment.
   */
  readonly law?: G711 | undefined;
  /**
   * Writes the next frame at `offset`.
   * @returns how many bytes it wrote: fewer than a frame at the end of the audio, 0 behind it
   */
  read(target: Buffer, offset: number): number;
}

/**
 * Reads the next frame of a source in this law: the call may have changed its codec since the source was
 * opened.
 */
export function readAs(law: G711, source: AudioSource, target: Buffer, offset: number): number {
  const written = source.read(target, offset);
  if (source.law === undefined || source.law === law || written === 0) return written;
  transcodeInto(source.law, target.subarray(offset, offset + written), law, target, offset);
  return written;
}

/** Looks at each frame before it is sent, and may change it. */
export interface FrameFilter {
  /** @param frame number of this moment on the clock */
  pass(packet: Buffer, offset: number, frame: number): void;
}

const HEADER = 12;
/**
 * Packets in flight: a buffer is written again only this many frames later, when the kernel has long taken
 * it.
 */
const RING = 8;
/**
 * Frames without a packet from the latched source after which another may take its place (its NAT has moved).
 */
const RELATCH_FRAMES = 50;

export interface RtpStats {
  packetsIn: number;
  bytesIn: number;
  packetsOut: number;
  bytesOut: number;
}

/** The audio of one channel: a UDP socket, what is sent each 20 ms, the keys that come in. */
export class RtpSession implements Ticker {
  readonly ip: string;
  readonly port: number;
  readonly stats: RtpStats = { packetsIn: 0, bytesIn: 0, packetsOut: 0, bytesOut: 0 };
  readonly events: EventSender = new EventSender();
  filter: FrameFilter | undefined;
  readonly #socket: dgram.Socket;
  readonly #clock: FrameClock;
  readonly #release: () => void;
  readonly #receiver: EventReceiver;
  readonly #audio: AudioReceiver = new AudioReceiver();
  readonly #ring: Buffer[];
  readonly #eventRing: Buffer[];
  #ringAt = 0;
  #eventRingAt = 0;
  #agreement: AudioAgreement | undefined;
  #law: G711 = 'PCMU';
  #address = '';
  #remotePort = 0;
  #latched = false;
  #silentFrames = 0;
  #sequence = randomBytes(2).readUInt16BE();
  #timestamp = randomBytes(4).readUInt32BE();
  #marker = true;
  #source: AudioSource | undefined;
  #onEnd: (() => void) | undefined;
  #closed = false;

  /** @throws Error when no port of the range can be bound. */
  static async open(
    ip: string,
    ports: PortRange,
    clock: FrameClock,
    onDigit: (digit: Digit) => void,
  ): Promise<RtpSession> {
    for (let tried = 0; tried < 16; tried++) {
      const port = ports.take();
      if (port === undefined) break;
      const socket = dgram.createSocket({ type: 'udp4', lookup: lookupNow });
      try {
        await new Promise<void>((resolve, reject) => {
          socket.once('error', reject);
          socket.bind(port, ip, resolve);
        });
        socket.removeAllListeners('error');
        return new RtpSession(ip, port, socket, clock, onDigit, () => ports.release(port));
      } catch {
        // Another program has it: it stays taken while the next one is tried, and is offered again later.
        socket.close();
        ports.release(port);
      }
    }
    throw new Error('no RTP port is free');
  }

  private constructor(
    ip: string,
    port: number,
    socket: dgram.Socket,
    clock: FrameClock,
    onDigit: (digit: Digit) => void,
    release: () => void,
  ) {
    this.ip = ip;
    this.port = port;
    this.#socket = socket;
    this.#clock = clock;
    this.#release = release;
    this.#receiver = new EventReceiver(onDigit);
    const ssrc = randomBytes(4);
    const buffers = (size: number): Buffer[] =>
      Array.from({ length: RING }, () => {
        const packet = Buffer.alloc(HEADER + size);
        packet[0] = 0x80;
        ssrc.copy(packet, 8);
        return packet;
      });
    this.#ring = buffers(FRAME_SAMPLES);
    this.#eventRing = buffers(4);
    socket.on('message', (data, from) => this.#receive(data, from));
    // The far end's port may be closed for a moment; the next packet may find it open.
    socket.on('error', () => {});
  }

  get agreement(): AudioAgreement | undefined {
    return this.#agreement;
  }

  /** Where audio goes now. */
  get remote(): { address: string; port: number } {
    return { address: this.#address, port: this.#remotePort };
  }

  /** Takes what offer and answer agreed on; the first call starts the audio. */
  agree(agreement: AudioAgreement): void {
    const before = this.#agreement;
    this.#agreement = agreement;
    this.#law = agreement.codec;
    if (before && before.codec !== agreement.codec) this.#audio.flush();
    const moved =
      before?.remote.address !== agreement.remote.address || before.remote.port !== agreement.remote.port;
    if (moved) {
      this.#address = agreement.remote.address;
      this.#remotePort = agreement.remote.port;
      this.#latched = false;
    }
    if (!before && !this.#closed) this.#clock.add(this);
  }

  /** Number of the frame of the clock that is due now. */
  get frame(): number {
    return this.#clock.frame;
  }

  /**
   * What came in for this frame of the clock, in the law we send; undefined for silence. Valid until the next
   * frame.
   */
  received(frame: number): Buffer | undefined {
    return this.#audio.frame(frame);
  }

  /** Plays from now on in place of what played before; `onEnd` is called once, when the source has ended. */
  play(source: AudioSource | undefined, onEnd?: () => void): void {
    this.#source = source;
    this.#onEnd = onEnd;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock.remove(this);
    this.#source = undefined;
    this.#onEnd = undefined;
    this.filter = undefined;
    this.#socket.close(() => this.#release());
  }

  tick(skipped: number): void {
    this.#timestamp = (this.#timestamp + skipped * FRAME_SAMPLES) >>> 0;
    this.#silentFrames++;
    this.#receiver.tick();
    const agreement = this.#agreement;
    const sending =
      agreement !== undefined && (agreement.direction === 'sendrecv' || agreement.direction === 'sendonly');
    const packet = this.#ring[this.#ringAt] ?? this.#ring[0];
    if (!agreement || !packet) return;
    // Taken whether anybody listens or not: who begins to later hears what is said then.
    this.#audio.advance(this.#clock.frame);
    this.#fill(packet);
    this.filter?.pass(packet, HEADER, this.#clock.frame);
    const event = agreement.eventPayload === undefined || this.events.idle ? undefined : this.events.next();
    if (!sending) this.#marker = true;
    else if (event) {
      const out = this.#eventRing[this.#eventRingAt++ % RING];
      if (out) {
        const start = (this.#timestamp - event.age * FRAME_SAMPLES) >>> 0;
        out[HEADER] = event.event;
        out[HEADER + 1] = (event.end ? 0x80 : 0) | event.volume;
        out.writeUInt16BE(event.duration, HEADER + 2);
        this.#send(out, agreement.eventPayload ?? 101, event.marker, start);
      }
      this.#marker = true;
    } else {
      this.#ringAt = (this.#ringAt + 1) % RING;
      this.#send(packet, agreement.payload, this.#marker, this.#timestamp);
      this.#marker = false;
    }
    this.#timestamp = (this.#timestamp + FRAME_SAMPLES) >>> 0;
  }

  /**
   * Puts the next frame into the packet; while nothing plays, silence keeps the stream and every NAT on its
   * way open.
   */
  #fill(packet: Buffer): void {
    let written = 0;
    // An ended source may be followed by the next one at once, and then there is no gap.
    for (let i = 0; i < 2 && this.#source && written === 0; i++) {
      written = readAs(this.#law, this.#source, packet, HEADER);
      if (written > 0) break;
      const ended = this.#onEnd;
      this.#source = undefined;
      this.#onEnd = undefined;
      ended?.();
    }
    if (written < FRAME_SAMPLES) packet.fill(SILENCE[this.#law], HEADER + written);
  }

  #send(packet: Buffer, payload: number, marker: boolean, timestamp: number): void {
    packet[1] = marker ? payload | 0x80 : payload;
    this.#sequence = (this.#sequence + 1) & 0xffff;
    packet[2] = this.#sequence >> 8;
    packet[3] = this.#sequence & 0xff;
    packet[4] = timestamp >>> 24;
    packet[5] = (timestamp >>> 16) & 0xff;
    packet[6] = (timestamp >>> 8) & 0xff;
    packet[7] = timestamp & 0xff;
    this.#socket.send(packet, this.#remotePort, this.#address);
    this.stats.packetsOut++;
    this.stats.bytesOut += packet.length;
  }

  #receive(data: Buffer, from: dgram.RemoteInfo): void {
    if (data.length < HEADER || ((data[0] ?? 0) & 0xc0) !== 0x80) return;
    const agreement = this.#agreement;
    const payload = (data[1] ?? 0) & 0x7f;
    const format = agreement?.receives.get(payload);
    // Anything else, RTCP among it, must neither latch nor be listened to.
    if (!format) return;
    if (from.address !== this.#address || from.port !== this.#remotePort) {
      if (this.#latched && this.#silentFrames < RELATCH_FRAMES) return;
      this.#address = from.address;
      this.#remotePort = from.port;
      this.#audio.flush();
    }
    this.#latched = true;
    this.#silentFrames = 0;
    this.stats.packetsIn++;
    this.stats.bytesIn += data.length;
    let offset = HEADER + ((data[0] ?? 0) & 15) * 4;
    if ((data[0] ?? 0) & 0x10) {
      if (data.length < offset + 4) return;
      offset += 4 + data.readUInt16BE(offset + 2) * 4;
    }
    if (format === 'event') {
      const marker = ((data[1] ?? 0) & 0x80) !== 0;
      this.#receiver.packet(
        {
          ssrc: data.readUInt32BE(8),
          sequence: data.readUInt16BE(2),
          timestamp: data.readUInt32BE(4),
          marker,
        },
        data,
        offset,
      );
      return;
    }
    const end = data.length - ((data[0] ?? 0) & 0x20 ? (data[data.length - 1] ?? 0) : 0);
    if (offset >= end) return;
    // The far end may change its codec at any moment; whoever listens goes on to hear the agreed one.
    if (format !== this.#law) transcodeInto(format, data.subarray(offset, end), this.#law, data, offset);
    this.#audio.packet(data.readUInt16BE(2), data, offset, end);
  }
}
