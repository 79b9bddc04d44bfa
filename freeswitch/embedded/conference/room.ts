import { randomUUID } from 'node:crypto';
import type { ChannelAudio } from '../channel/audio.ts';
import type { CallerProfile } from '../channel/invite-variables.ts';
import { encodeFrame, FRAME_SAMPLES, SAMPLES } from '../rtp/g711.ts';
import { readAs, type AudioSource } from '../rtp/session.ts';

/** Mean level from which somebody counts as talking in a list. */
const TALKING = 100;

/** Who may be in a room: a channel, as far as a room needs it. */
export interface Occupant {
  readonly uuid: string;
  readonly profile: CallerProfile;
  readonly audio: ChannelAudio;
}

export interface MemberOptions {
  mute: boolean;
  endsRoom: boolean;
  /** What the member hears while alone. */
  music: AudioSource | undefined;
  /** The member is out of the room, whoever has put him there. */
  onOut: () => void;
}

/** Somebody in a room; as a source of audio, what he hears: all the others, or music while there are none. */
export class Member implements AudioSource {
  readonly id: number;
  readonly channel: Occupant;
  readonly options: MemberOptions;
  /** What he says in the frame that was mixed last. */
  readonly samples: Int16Array = new Int16Array(FRAME_SAMPLES);
  speaks = false;
  talking = false;
  readonly #room: Room;

  constructor(id: number, channel: Occupant, options: MemberOptions, room: Room) {
    this.id = id;
    this.channel = channel;
    this.options = options;
    this.#room = room;
  }

  /** Takes what he says now. */
  listen(frame: number): void {
    const said = this.options.mute ? undefined : this.channel.audio.said(frame);
    this.speaks = said !== undefined;
    if (!said) {
      this.talking = false;
      return;
    }
    const table = SAMPLES[this.channel.audio.law];
    let sum = 0;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const sample = table[said[i] ?? 0] ?? 0;
      this.samples[i] = sample;
      sum += sample < 0 ? -sample : sample;
    }
    this.talking = sum >= TALKING * FRAME_SAMPLES;
  }

  read(target: Buffer, offset: number): number {
    const { music } = this.options;
    if (music && this.#room.size === 1) return readAs(this.channel.audio.law, music, target, offset);
    encodeFrame(this.channel.audio.law, this.#room.heardBy(this), target, offset);
    return FRAME_SAMPLES;
  }
}

/** A conference: everybody hears the sum of the others. */
export class Room {
  readonly name: string;
  readonly uuid: string = randomUUID();
  readonly #onEmpty: () => void;
  readonly #members = new Map<number, Member>();
  readonly #sum = new Int32Array(FRAME_SAMPLES);
  readonly #heard = new Int16Array(FRAME_SAMPLES);
  #mixed = -1;
  #over = false;

  constructor(name: string, onEmpty: () => void) {
    this.name = name;
    this.#onEmpty = onEmpty;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Latest first. */
  get members(): Member[] {
    return [...this.#members.values()].sort((a, b) => b.id - a.id);
  }

  member(id: number): Member | undefined {
    return this.#members.get(id);
  }

  enter(channel: Occupant, options: MemberOptions): Member {
    let id = 1;
    while (this.#members.has(id)) id++;
    const member = new Member(id, channel, options, this);
    this.#members.set(id, member);
    return member;
  }

  /** Takes a member out; with one who ends the room all others go as well. */
  leave(member: Member): void {
    if (this.#members.get(member.id) !== member) return;
    this.#members.delete(member.id);
    this.#mixed = -1;
    member.options.onOut();
    if (member.options.endsRoom) for (const other of this.members) this.leave(other);
    if (this.#members.size > 0 || this.#over) return;
    this.#over = true;
    this.#onEmpty();
  }

  /** The sum of all others, valid until the next is asked for. */
  heardBy(member: Member): Int16Array {
    const { frame } = member.channel.audio;
    if (frame !== this.#mixed) this.#mix(frame);
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const own = member.speaks ? (member.samples[i] ?? 0) : 0;
      const others = (this.#sum[i] ?? 0) - own;
      this.#heard[i] = others > 32_767 ? 32_767 : others < -32_768 ? -32_768 : others;
    }
    return this.#heard;
  }

  #mix(frame: number): void {
    this.#mixed = frame;
    this.#sum.fill(0);
    for (const member of this.#members.values()) {
      member.listen(frame);
      if (!member.speaks) continue;
      for (let i = 0; i < FRAME_SAMPLES; i++) this.#sum[i] = (this.#sum[i] ?? 0) + (member.samples[i] ?? 0);
    }
  }
}

/** The rooms there are. One is made by who enters first, and gone with the last. */
export class Rooms {
  readonly #rooms = new Map<string, Room>();

  get(name: string): Room | undefined {
    return this.#rooms.get(name);
  }

  get all(): IterableIterator<Room> {
    return this.#rooms.values();
  }

  /** The room of this name, made if need be. It must be entered at once: an empty one stays. */
  open(name: string): Room {
    const known = this.#rooms.get(name);
    if (known) return known;
    const room = new Room(name, () => this.#rooms.delete(name));
    this.#rooms.set(name, room);
    return room;
  }
}
