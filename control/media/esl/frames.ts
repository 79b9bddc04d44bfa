/** One message from a node: a block of headers, and a body when Content-Length announced one. */
export interface Frame {
  /** Header values as they came; names in lower case. */
  headers: ReadonlyMap<string, string>;
  body: string;
}

const MAX_HEADER_BYTES = 64 * 1024;
/** `show channels as json` of a full node is the longest thing a node says: about 2 KB a channel. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

/** Cuts the byte stream of an event socket into frames, however the network has cut it. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes without which no further frame can be complete. */
  #needed = 1;

  /** @throws Error when this cannot be an event socket, or a frame is longer than any node would send. */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const frames: Frame[] = [];
    this.#needed = 1;
    for (;;) {
      let start = 0;
      while (rest[start] === 0x0a || rest[start] === 0x0d) start++;
      rest = rest.subarray(start);
      const end = endOfHeaders(rest);
      if (end === undefined) {
        if (rest.length > MAX_HEADER_BYTES) throw new Error('a header block without an end');
        break;
      }
      const headers = readHeaders(rest.toString('utf8', 0, end.at));
      const length = Number(headers.get('content-length') ?? 0);
      if (!Number.isSafeInteger(length) || length < 0 || length > MAX_BODY_BYTES)
        throw new Error(`a frame with Content-Length ${headers.get('content-length')}`);
      const total = end.next + length;
      if (rest.length < total) {
        this.#needed = total;
        break;
      }
      frames.push({ headers, body: rest.toString('utf8', end.next, total) });
      rest = rest.subarray(total);
    }
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#size = rest.length;
    return frames;
  }
}

function endOfHeaders(data: Buffer): { at: number; next: number } | undefined {
  const bare = data.indexOf('\n\n');
  const crlf = data.indexOf('\r\n\r\n');
  if (bare === -1 && crlf === -1) return undefined;
  return bare !== -1 && (crlf === -1 || bare < crlf)
    ? { at: bare, next: bare + 2 }
    : { at: crlf, next: crlf + 4 };
}

function readHeaders(block: string): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}
