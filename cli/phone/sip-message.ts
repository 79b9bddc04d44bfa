/**
 * Reading and writing SIP messages for the test phone (RFC 3261 §7, §20). Written apart from
 * freeswitch/embedded on purpose: two parsers that share a mistake would agree about it.
 */
export type HeaderLine = [name: string, value: string];

export interface SipMessage {
  /** Set on a request. */
  method?: string;
  uri?: string;
  /** Set on a response. */
  code?: number;
  reason?: string;
  headers: HeaderLine[];
  body: string;
  /** As it was on the wire. */
  text: string;
}

const COMPACT: Record<string, string> = {
  v: 'via',
  f: 'from',
  t: 'to',
  i: 'call-id',
  m: 'contact',
  l: 'content-length',
  c: 'content-type',
  k: 'supported',
  s: 'subject',
  e: 'content-encoding',
};
const canonical = (name: string): string => {
  const lower = name.trim().toLowerCase();
  return COMPACT[lower] ?? lower;
};

/** @throws Error when the text has no start line or no header. */
export function parseSip(text: string): SipMessage {
  const split = text.indexOf('\r\n\r\n');
  const head = split < 0 ? text : text.slice(0, split);
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const start = lines[0] ?? '';
  const headers = lines.slice(1).map((line): HeaderLine => {
    const colon = line.indexOf(':');
    if (colon < 1) throw new Error(`not a SIP header: ${line}`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
  const common = { headers, body: split < 0 ? '' : text.slice(split + 4), text };
  const status = /^SIP\/2\.0 (\d{3}) ?(.*)$/.exec(start);
  if (status) return { ...common, code: Number(status[1]), reason: status[2] ?? '' };
  const request = /^(\S+) (\S+) SIP\/2\.0$/.exec(start);
  if (!request) throw new Error(`not a SIP message: ${start}`);
  return { ...common, method: request[1] ?? '', uri: request[2] ?? '' };
}

/** Writes a message; Content-Length is added here. */
export function writeSip(startLine: string, headers: readonly HeaderLine[], body = ''): string {
  const lines = [
    startLine,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** First value of a header; its compact form counts too. */
export const header = (message: SipMessage, name: string): string | undefined =>
  headerValues(message, name)[0];

/**
 * All values of a header, in order. Lists in one line (Via, Route, Record-Route, Contact) are taken apart.
 */
export function headerValues(message: SipMessage, name: string): string[] {
  const wanted = canonical(name);
  const lines = message.headers.filter(([key]) => canonical(key) === wanted).map(([, value]) => value);
  return ['via', 'route', 'record-route', 'contact'].includes(wanted) ? lines.flatMap(splitList) : lines;
}

/** Splits at commas that are neither quoted nor inside angle brackets. */
function splitList(value: string): string[] {
  const parts: string[] = [];
  let part = '';
  let quoted = false;
  let angle = false;
  for (const char of value) {
    if (char === '"') quoted = !quoted;
    else if (!quoted && char === '<') angle = true;
    else if (!quoted && char === '>') angle = false;
    if (char === ',' && !quoted && !angle) {
      parts.push(part.trim());
      part = '';
    } else part += char;
  }
  parts.push(part.trim());
  return parts.filter(Boolean);
}

/** `sip:a@b` of `"Name" <sip:a@b>;tag=x` or of a bare URI. */
export const uriOf = (nameAddr: string): string =>
  /<([^>]*)>/.exec(nameAddr)?.[1] ?? nameAddr.split(';')[0]?.trim() ?? '';

export const tagOf = (nameAddr: string | undefined): string =>
  /;\s*tag=([^;\s>]+)/i.exec(nameAddr ?? '')?.[1] ?? '';

export interface HostPort {
  host: string;
  port: number;
}

/** Where a request for this URI goes. Loopback tests use addresses only, so no DNS is asked. */
export function hostPortOf(uri: string): HostPort {
  const match = /^sips?:(?:[^@]*@)?(\[[^\]]+\]|[^:;?>]+)(?::(\d+))?/i.exec(uri);
  if (!match?.[1]) throw new Error(`no host in ${uri}`);
  return { host: match[1], port: Number(match[2] ?? 5060) };
}

/** Takes whole messages out of a TCP stream by their Content-Length (RFC 3261 §18.3); keeps the rest. */
export function sipStream(onMessage: (text: string) => void): (chunk: Buffer) => void {
  let buffered = Buffer.alloc(0);
  return (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    for (;;) {
      // CRLF between messages is a keep-alive (RFC 5626 §3.5.1).
      while (buffered[0] === 13 || buffered[0] === 10) buffered = buffered.subarray(1);
      const end = buffered.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(
        /^(?:content-length|l)\s*:\s*(\d+)/im.exec(buffered.toString('latin1', 0, end))?.[1] ?? 0,
      );
      if (buffered.length < end + 4 + length) return;
      onMessage(buffered.toString('utf8', 0, end + 4 + length));
      buffered = buffered.subarray(end + 4 + length);
    }
  };
}
