/** A message of RFC 4475, and what the edge makes of it. */
export interface TortureMessage {
  /** Section of the RFC. */
  section: string;
  /** The RFC's name of the message. */
  name: string;
  what: string;
  bytes: Buffer;
  /**
   * What a trunk gets over UDP: this code, or silence. Kamailio cannot answer a request that its core cannot
   * parse.
   */
  trunk: number | 'silence';
}

/**
 * Lines become CRLF lines; `%%xx` stands for a byte, since the RFC's messages hold some that are no text,
 * `@length` for that of the body.
 */
export function message(
  section: string,
  name: string,
  what: string,
  trunk: TortureMessage['trunk'],
  lines: string[],
  body: string[] = [],
): TortureMessage {
  const content = bytesOf(body.map((line) => `${line}\r\n`).join(''));
  const head = bytesOf(`${lines.join('\r\n').replace('@length', String(content.length))}\r\n\r\n`);
  return { section, name, what, bytes: Buffer.concat([head, content]), trunk };
}

function bytesOf(text: string): Buffer {
  const parts = text.split(/%%([0-9A-F]{2})/);
  return Buffer.concat(
    parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part, 'utf8') : Buffer.from(part, 'hex'))),
  );
}

/** The session most of the messages bring. */
export const SDP = [
  'v=0',
  'o=mhandley 29739 7272939 IN IP4 192.0.2.3',
  's=-',
  'c=IN IP4 192.0.2.4',
  't=0 0',
  'm=audio 49217 RTP/AVP 0 12',
  'm=video 3227 RTP/AVP 31',
  'a=rtpmap:31 LPC',
];

export const SHORT_SDP = [
  'v=0',
  'o=mhandley 29739 7272939 IN IP4 192.0.2.1',
  's=-',
  'c=IN IP4 192.0.2.1',
  't=0 0',
  'm=audio 49217 RTP/AVP 0',
];
