import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { Heard } from './ear.ts';
import { codecOf, decode, encode, PAYLOAD_TYPE, type Codec } from './codec.ts';
import { parseRtp, parseTelephoneEvent, writeRtp, writeTelephoneEvent } from './rtp.ts';
import { silence, type SoundSource } from './sound.ts';
import type { HostPort } from './sip-message.ts';

const FRAME = 160;
const FRAME_MS = 20;
const END_PACKETS = 3;

/**
 * The largest duration that a packet can tell; a longer event goes on in a second segment (RFC 4733
 * §2.5.1.3).
 */
const LONGEST_SEGMENT = 0xffff;

/**
 * How a telephone stamps its keys: right, with one timestamp for all of them, with a later one on each
 * repetition of the end, or without any end.
 */
export type KeyManner = 'right' | 'never-advancing' | 'later-ends' | 'without-ends';

interface PendingKey {
  key: string;
  manner: KeyManner;
  frames: number;
  sent: number;
  startTimestamp: number;
  /** Timestamp units of the segments before this one. */
  before: number;
  done: () => void;
}

/** One end of an RTP stream: says something every 20 ms, presses keys, and remembers what it hears. */
export class RtpPort {
  readonly heard = new Heard();
  readonly address: string;
  readonly port: number;
  /** Of what is sent; received packets name theirs. */
  codec: Codec = 'PCMU';
  /** Of telephone events, both ways. */
  eventType = 101;
  /** Of those that come, where this end has named another number than the far end. */
  ownEventType: number | undefined;
  /** Where to send. Without one, sound goes to where sound comes from. */
  remote: HostPort | undefined;
  /** Where the last packet came from. */
  source: HostPort | undefined;
  sent = 0;
  /** Only listens: `start` sends nothing. */
  quiet = false;
  #socket: Socket;
  #sound: SoundSource = silence();
  #ssrc = randomInt(2 ** 32);
  #sequence = randomInt(2 ** 15);
  #timestamp = randomInt(2 ** 31);
  #marker = true;
  #keys: PendingKey[] = [];
  #pauseFrames = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastKey = '';
  #frozen: number | undefined;
  #closed = false;

  private constructor(socket: Socket, address: string) {
    this.#socket = socket;
    this.address = address;
    this.port = socket.address().port;
    socket.on('message', (datagram, from) =>
      this.#receive(datagram, { host: from.address, port: from.port }),
    );
    // A refused datagram (the far end has closed its port) is no failure of the phone.
    socket.on('error', () => undefined);
  }

  /** On a free even port of this address. */
  static async open(address: string): Promise<RtpPort> {
    for (;;) {
      const socket = createSocket('udp4');
      socket.bind(0, address);
      await once(socket, 'listening');
      // RTP ports are even by custom (RFC 3550 §11), and some relays insist.
      if (socket.address().port % 2 === 0) return new RtpPort(socket, address);
      socket.close();
    }
  }

  /** Begins to send, silence if nothing else was given. */
  start(): void {
    if (this.#timer || this.#closed || this.quiet) return;
    const began = performance.now();
    let frames = 0;
    this.#timer = setInterval(() => {
      // A busy machine wakes us late: send what is due, but do not flood after a long stop.
      const due = Math.floor((performance.now() - began) / FRAME_MS) - frames;
      frames += due;
      for (let i = 0; i < Math.min(due, 25); i++) this.#sendFrame();
    }, FRAME_MS / 2);
  }

  /** Sends no more; goes on hearing. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  play(sound: SoundSource): void {
    this.#sound = sound;
  }

  /**
   * Presses keys by RFC 4733, `durationMs` each, 80 ms apart; resolves when the last one is sent. Needs
   * `start`.
   */
  async press(keys: string, durationMs = 120, manner: KeyManner = 'right'): Promise<void> {
    for (const key of keys) writeTelephoneEvent({ key, end: false, duration: 0 });
    await Promise.all(
      [...keys].map(
        (key) =>
          new Promise<void>((done) => {
            this.#keys.push({
              key,
              manner,
              frames: Math.max(2, Math.round(durationMs / FRAME_MS)),
              sent: 0,
              startTimestamp: 0,
              before: 0,
              done,
            });
          }),
      ),
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.pause();
    for (const { done } of this.#keys.splice(0)) done();
    this.#socket.close();
  }

  #sendFrame(): void {
    const to = this.remote ?? this.source;
    if (!to) return;
    const key = this.#pauseFrames > 0 ? undefined : this.#keys[0];
    if (this.#pauseFrames > 0) this.#pauseFrames--;
    if (key) this.#sendKey(key, to);
    else
      this.#send(
        PAYLOAD_TYPE[this.codec],
        this.#timestamp,
        encode(this.codec, this.#sound()),
        this.#marker,
        to,
      );
    if (!key) this.#marker = false;
    this.#timestamp = (this.#timestamp + FRAME) >>> 0;
  }

  /**
   * One packet of an event every 20 ms, all with its first timestamp; the last three have the end bit (RFC
   * 4733 §2.5.1).
   */
  #sendKey(key: PendingKey, to: HostPort): void {
    if (key.sent === 0)
      key.startTimestamp =
        key.manner === 'never-advancing' ? (this.#frozen ??= this.#timestamp) : this.#timestamp;
    key.sent++;
    const end = key.sent >= key.frames;
    if (key.sent * FRAME - key.before > LONGEST_SEGMENT) key.before += LONGEST_SEGMENT;
    const payload = writeTelephoneEvent({
      key: key.key,
      end: end && key.manner !== 'without-ends',
      duration: key.sent * FRAME - key.before,
    });
    for (let i = 0; i < (end ? END_PACKETS : 1); i++) {
      const stamp = key.startTimestamp + key.before + (key.manner === 'later-ends' ? i * FRAME : 0);
      this.#send(this.eventType, stamp, payload, key.sent === 1, to);
    }
    if (!end) return;
    this.#keys.shift();
    this.#pauseFrames = 4;
    this.#marker = true;
    key.done();
  }

  #send(payloadType: number, timestamp: number, payload: Buffer, marker: boolean, to: HostPort): void {
    this.#sequence = (this.#sequence + 1) & 0xffff;
    this.#socket.send(
      writeRtp({ payloadType, marker, sequence: this.#sequence, timestamp, ssrc: this.#ssrc, payload }),
      to.port,
      to.host,
    );
    this.sent++;
  }

  #receive(datagram: Buffer, from: HostPort): void {
    const packet = parseRtp(datagram);
    if (!packet) return;
    this.source = from;
    const codec = codecOf(packet.payloadType);
    // Nobody has told us what the far end takes: it takes what it sends.
    if (codec && !this.remote) this.codec = codec;
    if (codec) this.heard.add(decode(codec, packet.payload), packet, performance.now());
    if (packet.payloadType !== (this.ownEventType ?? this.eventType)) return;
    const event = parseTelephoneEvent(packet.payload);
    const id = `${packet.ssrc}:${packet.timestamp}`;
    if (!event || id === this.#lastKey) return;
    this.#lastKey = id;
    this.heard.addKey(event.key);
  }
}
