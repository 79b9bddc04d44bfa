/**
 * SIP messages (RFC 3261 section 7): parsing from and writing to bytes. Text is latin1 inside, so that bytes
 * this program does not understand are echoed unchanged.
 */

const COMPACT: Readonly<Record<string, string>> = {
  a: 'accept-contact',
  b: 'referred-by',
  c: 'content-type',
  e: 'content-encoding',
  f: 'from',
  i: 'call-id',
  k: 'supported',
  l: 'content-length',
  m: 'contact',
  o: 'event',
  r: 'refer-to',
  s: 'subject',
  t: 'to',
  u: 'allow-events',
  v: 'via',
  x: 'session-expires',
};

/** Headers whose values may be joined by commas, and that are taken apart here. */
const LISTS = new Set(['via', 'route', 'record-route', 'contact']);

/** A message larger than this is refused: nothing legitimate in an INVITE comes near. */
export const MAX_MESSAGE = 65_536;
const MAX_HEADERS = 1000;

export class SipSyntaxError extends Error {
  /** What a request that is written so is answered with. */
  readonly status: number;

  constructor(message: string, status = 400) {
    super(message);
    this.name = 'SipSyntaxError';
    this.status = status;
  }
}

export interface Header {
  /** As it was written. */
  name: string;
  /** Lower case, compact form expanded. */
  key: string;
  value: string;
}

/** The header fields of a message in order. */
export class Headers {
  readonly list: Header[] = [];

  add(name: string, value: string): this {
    this.list.push({ name, key: canonical(name), value });
    return this;
  }

  set(name: string, value: string): this {
    const key = canonical(name);
    const found = this.list.find((h) => h.key === key);
    if (found) found.value = value;
    else this.add(name, value);
    return this;
  }

  get(name: string): string | undefined {
    const key = name.toLowerCase();
    return this.list.find((h) => h.key === key)?.value;
  }

  all(name: string): string[] {
    const key = name.toLowerCase();
    return this.list.filter((h) => h.key === key).map((h) => h.value);
  }
}

export interface SipRequest {
  kind: 'request';
  method: string;
  uri: string;
  headers: Headers;
  body: Buffer;
}

export interface SipResponse {
  kind: 'response';
  status: number;
  reason: string;
  headers: Headers;
  body: Buffer;
}

export type SipMessage = SipRequest | SipResponse;

const EMPTY = Buffer.alloc(0);

function canonical(name: string): string {
  const lower = name.toLowerCase();
  return COMPACT[lower] ?? lower;
}

/** Takes a comma-separated list apart, commas inside quotes and angle brackets excepted. */
export function splitList(value: string): string[] {
  if (!value.includes(',')) return [value.trim()];
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  let angle = false;
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x3c) angle = true;
    else if (c === 0x3e) angle = false;
    else if (c === 0x2c && !angle) {
      parts.push(value.slice(start, i).trim());
      start = i + 1;
    }
  }
  parts.push(value.slice(start).trim());
  return parts.filter(Boolean);
}

/** Index just behind the blank line that ends the header, or -1. */
export function headerEnd(data: Buffer): number {
  const crlf = data.indexOf('\r\n\r\n');
  const lf = data.indexOf('\n\n');
  if (crlf >= 0 && (lf < 0 || crlf < lf)) return crlf + 4;
  return lf >= 0 ? lf + 2 : -1;
}

/** Reads the start line and header fields of `text` (without the blank line). */
function parseHead(text: string): { start: string; headers: Headers } {
  const lines = text.split(/\r?\n/);
  const start = lines[0] ?? '';
  const headers = new Headers();
  let pending = '';
  const flush = (): void => {
    if (!pending) return;
    const colon = pending.indexOf(':');
    if (colon <= 0) throw new SipSyntaxError('header field without a colon');
    const name = pending.slice(0, colon).trim();
    if (!/^[!%'*+\-.0-9A-Z_`a-z~]+$/.test(name)) throw new SipSyntaxError('bad header field name');
    const value = pending.slice(colon + 1).trim();
    if (LISTS.has(canonical(name))) for (const part of splitList(value)) headers.add(name, part);
    else headers.add(name, value);
    if (headers.list.length > MAX_HEADERS) throw new SipSyntaxError('too many header fields', 513);
  };
  for (const line of lines.slice(1)) {
    if (line === '') continue;
    // A line that starts with white space continues the one before it (section 7.3.1).
    if (line[0] === ' ' || line[0] === '\t') pending += ` ${line.trim()}`;
    else {
      flush();
      pending = line;
    }
  }
  flush();
  return { start, headers };
}

/** Empty lines in front of the start line are to be ignored (section 7.5). */
function withoutEmptyLines(data: Buffer): Buffer {
  let start = 0;
  while (data[start] === 0x0d || data[start] === 0x0a) start++;
  return start === 0 ? data : data.subarray(start);
}

/**
 * Parses one whole message: a datagram, or what the stream framing cut out.
 * @throws SipSyntaxError when it is not SIP.
 */
export function parseMessage(given: Buffer): SipMessage {
  if (given.length > MAX_MESSAGE) throw new SipSyntaxError('message too large', 513);
  const data = withoutEmptyLines(given);
  const end = headerEnd(data);
  const { start, headers } = parseHead(data.toString('latin1', 0, end < 0 ? data.length : end));
  let body: Buffer = end < 0 ? EMPTY : data.subarray(end);
  const declared = headers.get('content-length');
  if (declared !== undefined) {
    if (!/^\d{1,6}$/.test(declared)) throw new SipSyntaxError('bad Content-Length');
    const length = Number(declared);
    if (length > body.length) throw new SipSyntaxError('body shorter than Content-Length');
    body = body.subarray(0, length);
  }
  const response = /^SIP\/2\.0 +(\d{3})(?: +(.*))?$/i.exec(start);
  if (response) {
    return { kind: 'response', status: Number(response[1]), reason: response[2] ?? '', headers, body };
  }
  const request = /^([A-Za-z0-9.!%*_+`'~-]{1,32}) +(\S+) +SIP\/2\.0 *$/i.exec(start);
  if (!request)
    throw new SipSyntaxError('not a SIP start line', /SIP\/(?!2\.0 *$)\d+\.\d+ *$/i.test(start) ? 505 : 400);
  return { kind: 'request', method: request[1] ?? '', uri: request[2] ?? '', headers, body };
}

/** The header fields that a response copies. */
const COPIED = new Set(['via', 'from', 'to', 'call-id', 'cseq']);

/**
 * Of a request that cannot be parsed: what its refusal needs.
 * @returns undefined where it is no request, or has no Via
 */
export function readForRefusal(data: Buffer): SipRequest | undefined {
  const lines = withoutEmptyLines(data.subarray(0, MAX_MESSAGE)).toString('latin1').split(/\r?\n/);
  const [, method] = /^([A-Za-z]{1,32}) +.*SIP\/\d+\.\d+ *$/i.exec(lines[0] ?? '') ?? [];
  if (!method) return undefined;
  const headers = new Headers();
  for (const line of lines.slice(1)) {
    if (line === '') break;
    const [, name = '', value = ''] = /^([A-Za-z-]+)[ \t]*:(.*)$/.exec(line) ?? [];
    if (!COPIED.has(canonical(name))) continue;
    for (const part of canonical(name) === 'via' ? splitList(value) : [value.trim()]) headers.add(name, part);
  }
  return headers.get('via') ? { kind: 'request', method, uri: '', headers, body: EMPTY } : undefined;
}

/** The message as bytes; Content-Length is always written anew. */
export function writeMessage(message: SipMessage): Buffer {
  let text =
    message.kind === 'request'
      ? `${message.method} ${message.uri} SIP/2.0\r\n`
      : `SIP/2.0 ${message.status} ${message.reason}\r\n`;
  for (const header of message.headers.list) {
    if (header.key !== 'content-length') text += `${header.name}: ${header.value}\r\n`;
  }
  text += `Content-Length: ${message.body.length}\r\n\r\n`;
  const head = Buffer.from(text, 'latin1');
  return message.body.length === 0 ? head : Buffer.concat([head, message.body]);
}

const REASONS: Readonly<Record<number, string>> = {
  100: 'Trying',
  180: 'Ringing',
  183: 'Session Progress',
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  410: 'Gone',
  413: 'Request Entity Too Large',
  415: 'Unsupported Media Type',
  420: 'Bad Extension',
  421: 'Extension Required',
  422: 'Session Interval Too Small',
  423: 'Interval Too Brief',
  480: 'Temporarily Unavailable',
  481: 'Call Does Not Exist',
  482: 'Request merged',
  483: 'Too Many Hops',
  484: 'Address Incomplete',
  485: 'Ambiguous',
  486: 'Busy Here',
  487: 'Request Terminated',
  488: 'Not Acceptable Here',
  491: 'Request Pending',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Time-out',
  505: 'Version Not Supported',
  513: 'Message Too Large',
  600: 'Busy Everywhere',
  603: 'Decline',
  604: 'Does Not Exist Anywhere',
  606: 'Not Acceptable',
  607: 'Unwanted',
};

export function reasonPhrase(status: number): string {
  return REASONS[status] ?? 'Because';
}

/**
 * A response to `request` with what section 8.2.6 says it copies; `toTag` is added where the request has
 * none.
 */
export function makeResponse(
  request: SipRequest,
  status: number,
  options: { toTag?: string; reason?: string } = {},
): SipResponse {
  const headers = new Headers();
  for (const h of request.headers.list) if (h.key === 'via') headers.add('Via', h.value);
  headers.add('From', request.headers.get('from') ?? '');
  const to = request.headers.get('to') ?? '';
  headers.add('To', options.toTag && !/;\s*tag=/i.test(to) ? `${to};tag=${options.toTag}` : to);
  headers.add('Call-ID', request.headers.get('call-id') ?? '');
  headers.add('CSeq', request.headers.get('cseq') ?? '');
  return { kind: 'response', status, reason: options.reason ?? reasonPhrase(status), headers, body: EMPTY };
}
