import { constants, createGunzip } from 'node:zlib';

/**
 * A body that cannot be read as what it claims to be. The message names the cause for the developer whose
 * server it is.
 */
export class UnreadableBody extends Error {
  readonly kind: 'content_encoding' | 'charset' | 'too_large';

  constructor(kind: UnreadableBody['kind'], message: string) {
    super(message);
    this.name = 'UnreadableBody';
    this.kind = kind;
  }
}

/**
 * A body without its content coding (RFC 9110 §8.4). `identity` is asked for, but servers and the caches
 * before them compress all the same, so gzip is unpacked.
 * @param limit bytes of the unpacked body
 * @throws UnreadableBody for another coding, for what is not gzip, and beyond the limit: no more than that is
 *   unpacked
 */
export async function unpacked(body: Buffer, coding: string | undefined, limit: number): Promise<Buffer> {
  const codings = (coding ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '' && name !== 'identity');
  if (codings.length === 0 || body.length === 0) return body;
  const [name] = codings;
  if (codings.length > 1 || (name !== 'gzip' && name !== 'x-gzip')) {
    const named = codings.join(', ').slice(0, 80);
    throw new UnreadableBody(
      'content_encoding',
      `the reply has Content-Encoding ${named}: it may be plain or gzip`,
    );
  }
  const gunzip = createGunzip({ finishFlush: constants.Z_SYNC_FLUSH });
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    gunzip.end(body);
    for await (const chunk of gunzip) {
      size += (chunk as Buffer).length;
      if (size > limit)
        throw new UnreadableBody('too_large', `the reply unpacks to more than ${limit} bytes`);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    if (error instanceof UnreadableBody) throw error;
    const cause = error instanceof Error ? error.message : String(error);
    throw new UnreadableBody(
      'content_encoding',
      `the reply has Content-Encoding gzip, but is not gzip (${cause})`,
    );
  }
  return Buffer.concat(chunks);
}

const MARKS = [
  ['UTF-32', [0xff, 0xfe, 0, 0]],
  ['UTF-32', [0, 0, 0xfe, 0xff]],
  ['UTF-16', [0xff, 0xfe]],
  ['UTF-16', [0xfe, 0xff]],
] as const;

/**
 * The text of a JSON reply: UTF-8, whatever its Content-Type says, with or without a byte order mark (RFC
 * 8259 §8.1).
 * @throws UnreadableBody naming what it is instead, as far as that can be told
 */
export function utf8(body: Buffer, contentType = ''): string {
  if (body[0] === 0x1f && body[1] === 0x8b) {
    throw new UnreadableBody(
      'content_encoding',
      'the reply is gzip, but has no Content-Encoding that says so',
    );
  }
  const marked = MARKS.find(([, bytes]) => bytes.every((byte, i) => body[i] === byte));
  // JSON begins with an ASCII character, of which UTF-16 makes a zero and another byte.
  const name = marked?.[0] ?? (body.subarray(0, 4).includes(0) ? 'UTF-16 or UTF-32' : undefined);
  if (name !== undefined) throw new UnreadableBody('charset', `the reply is ${name}: it must be UTF-8`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    const charset = /;\s*charset\s*=\s*"?([\w.:-]{1,40})/i.exec(contentType)?.[1];
    const says = charset === undefined ? '' : ` (its Content-Type says ${charset})`;
    throw new UnreadableBody('charset', `the reply is not UTF-8${says}`);
  }
}
