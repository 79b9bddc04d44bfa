/** One command with its header fields (names in lower case) and body. */
export interface EslCommand {
  line: string;
  headers: ReadonlyMap<string, string>;
  body: string;
}

const MAX_HEAD = 64 * 1024;
const MAX_BODY = 1024 * 1024;

export class EslTooLarge extends Error {
  constructor() {
    super('command too large');
    this.name = 'EslTooLarge';
  }
}

/**
 * Cuts the byte stream of a connection into commands: lines up to an empty one, then a body where
 * Content-Length says so.
 */
export class CommandReader {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws EslTooLarge when the other side sends without end */
  push(chunk: Buffer): EslCommand[] {
    let data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const commands: EslCommand[] = [];
    for (;;) {
      // Empty lines between commands mean nothing.
      let start = 0;
      while (start < data.length && (data[start] === 0x0a || data[start] === 0x0d)) start++;
      if (start > 0) data = data.subarray(start);
      const end = endOfHead(data);
      if (end < 0) {
        if (data.length > MAX_HEAD) throw new EslTooLarge();
        break;
      }
      const lines = data
        .toString('utf8', 0, end)
        .split(/[\r\n]+/)
        .filter(Boolean);
      const headers = new Map<string, string>();
      for (const line of lines.slice(1)) {
        const colon = line.indexOf(':');
        if (colon <= 0) continue;
        const name = line.slice(0, colon).toLowerCase();
        if (!headers.has(name)) headers.set(name, line.slice(colon + 1).replace(/^ +/, ''));
      }
      const declared = parseInt(headers.get('content-length') ?? '', 10);
      const length = declared > 0 ? declared : 0;
      if (length > MAX_BODY) throw new EslTooLarge();
      if (data.length < end + length) break;
      commands.push({ line: lines[0] ?? '', headers, body: data.toString('utf8', end, end + length) });
      data = data.subarray(end + length);
    }
    this.#pending = data;
    return commands;
  }
}

/** Index behind two line feeds with nothing but carriage returns between them, or -1. */
function endOfHead(data: Buffer): number {
  for (let at = data.indexOf(0x0a); at >= 0; at = data.indexOf(0x0a, at + 1)) {
    let next = at + 1;
    while (data[next] === 0x0d) next++;
    if (data[next] === 0x0a) return next + 1;
  }
  return -1;
}
