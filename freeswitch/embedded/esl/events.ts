import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { FsEvent, type EventHeaders } from './event.ts';

export interface EventListener {
  wants(name: string): boolean;
  deliver(event: FsEvent): void;
}

/** Where an event is made in FreeSWITCH's source: its headers name the place, and some clients print it. */
export interface Origin {
  file: string;
  fn: string;
  line: number;
}

const NOWHERE: Origin = { file: 'switch_event.c', fn: 'switch_event_fire', line: 1 };

/** Microseconds since the epoch, in steps of a millisecond. */
export function nowMicros(): number {
  return Date.now() * 1000;
}

/** `2026-11-21 01:08:42`, local time, of a time in microseconds. */
export function localStamp(micros: number): string {
  const d = new Date(micros / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** Makes events and hands them to the connections that asked for them. */
export class EventHub {
  readonly coreUuid: string = randomUUID();
  readonly hostname: string = hostname();
  readonly #address: string;
  readonly #listeners = new Set<EventListener>();
  #sequence = 0;
  #second = -1;
  #local = '';
  #gmt = '';

  constructor(address: string) {
    this.#address = address;
  }

  add(listener: EventListener): void {
    this.#listeners.add(listener);
  }

  remove(listener: EventListener): void {
    this.#listeners.delete(listener);
  }

  /** Whether anybody listens: an event nobody wants is not even made. */
  wanted(name: string): boolean {
    for (const listener of this.#listeners) if (listener.wants(name)) return true;
    return false;
  }

  /** The header fields every event begins with. */
  begin(name: string, origin: Origin = NOWHERE): EventHeaders {
    const micros = nowMicros();
    const second = Math.floor(micros / 1_000_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#local = localStamp(micros);
      this.#gmt = new Date(micros / 1000).toUTCString();
    }
    return {
      'Event-Name': name,
      'Core-UUID': this.coreUuid,
      'FreeSWITCH-Hostname': this.hostname,
      'FreeSWITCH-Switchname': this.hostname,
      'FreeSWITCH-IPv4': this.#address,
      'FreeSWITCH-IPv6': '::1',
      'Event-Date-Local': this.#local,
      'Event-Date-GMT': this.#gmt,
      'Event-Date-Timestamp': String(micros),
      'Event-Calling-File': origin.file,
      'Event-Calling-Function': origin.fn,
      'Event-Calling-Line-Number': String(origin.line),
      'Event-Sequence': String(++this.#sequence),
    };
  }

  fire(name: string, headers: EventHeaders, body?: string): void {
    let event: FsEvent | undefined;
    for (const listener of this.#listeners) {
      if (!listener.wants(name)) continue;
      event ??= new FsEvent(name, headers, body);
      listener.deliver(event);
    }
  }
}
