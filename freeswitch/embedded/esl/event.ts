/** The header fields of an event, in order. */
export type EventHeaders = Record<string, string>;

const UNSAFE = /[^ -~]|[\r\n #%&+:;<=>?@[\\\]^`{|}"]/gu;

/**
 * Percent-encoding as event values carry it: control characters, everything beyond ASCII, and a list of
 * others.
 */
export function encodeValue(value: string): string {
  return value.replace(UNSAFE, (c) => {
    let encoded = '';
    for (const byte of Buffer.from(c)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    return encoded;
  });
}

/**
 * Headers and body as plain text; without encoding the values stand in brackets, as `uuid_dump X plain` shows
 * them.
 */
export function plainText(headers: EventHeaders, body: string | undefined, encode: boolean = true): string {
  let text = '';
  for (const name in headers) {
    const value = headers[name] ?? '';
    text += `${name}: ${(encode ? encodeValue(value) : `[${value}]`) || '_undef_'}\n`;
  }
  return body ? `${text}Content-Length: ${Buffer.byteLength(body)}\n\n${body}` : `${text}\n`;
}

export function jsonText(headers: EventHeaders, body: string | undefined): string {
  if (body === undefined) return JSON.stringify(headers);
  return JSON.stringify({ ...headers, 'Content-Length': String(Buffer.byteLength(body)), _body: body });
}

export type EventFormat = 'plain' | 'json';

/** One event, written out at most once per format however many connections want it. */
export class FsEvent {
  readonly name: string;
  readonly headers: EventHeaders;
  readonly body: string | undefined;
  readonly #frames: Partial<Record<EventFormat, string>> = {};
  #lower: Map<string, string> | undefined;

  constructor(name: string, headers: EventHeaders, body?: string) {
    this.name = name;
    this.headers = headers;
    this.body = body;
  }

  /** A header field by name in any case. */
  header(name: string): string | undefined {
    this.#lower ??= new Map(Object.entries(this.headers).map(([key, value]) => [key.toLowerCase(), value]));
    return this.#lower.get(name.toLowerCase());
  }

  /** What goes over the wire. */
  frame(format: EventFormat): string {
    const known = this.#frames[format];
    if (known !== undefined) return known;
    const text = format === 'json' ? jsonText(this.headers, this.body) : plainText(this.headers, this.body);
    const frame = `Content-Length: ${Buffer.byteLength(text)}\nContent-Type: text/event-${format}\n\n${text}`;
    this.#frames[format] = frame;
    return frame;
  }
}
