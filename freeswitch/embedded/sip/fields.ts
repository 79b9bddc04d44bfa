/** The structured header fields of SIP (RFC 3261 section 20 and 25). */

export interface Uri {
  scheme: string;
  user: string;
  host: string;
  /** Absent where the URI names none. */
  port?: number;
  params: Readonly<Record<string, string>>;
}

/** `sip:user:password@host:port;params?headers`; undefined when it is not a SIP URI. */
export function parseUri(text: string): Uri | undefined {
  const match =
    /^(sips?):(?:([^@\s]*)@)?(\[[^\]]+\]|[^:;?\s>]+)(?::(\d{1,5}))?((?:;[^?\s]*)?)(?:\?\S*)?$/i.exec(
      text.trim(),
    );
  if (!match) return undefined;
  const [, scheme = 'sip', user = '', host = '', port, params = ''] = match;
  if (port !== undefined && Number(port) > 65_535) return undefined;
  return {
    scheme: scheme.toLowerCase(),
    user: decodeUser(user.split(':')[0] ?? ''),
    host: host.replace(/^\[|\]$/g, ''),
    port: port === undefined ? undefined : Number(port),
    params: parseParams(params),
  };
}

function decodeUser(user: string): string {
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}

/** `;a=b;c="d"` to an object with lower-case names; a parameter without value is ''. */
export function parseParams(text: string): Record<string, string> {
  const params: Record<string, string> = {};
  for (const match of text.matchAll(/;\s*([^\s=;,"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,]+))?/g)) {
    const name = (match[1] ?? '').toLowerCase();
    const value = match[2] ?? '';
    if (!(name in params))
      params[name] = value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
  }
  return params;
}

export interface NameAddr {
  display: string;
  /** The URI as text, without angle brackets. */
  uri: string;
  params: Readonly<Record<string, string>>;
}

/** A From, To, Contact, Route or Record-Route value; undefined when it cannot be read. */
export function parseNameAddr(value: string): NameAddr | undefined {
  const bracket = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^<>]+)>(.*)$/s.exec(value);
  if (bracket) {
    const display = bracket[1] !== undefined ? bracket[1].replace(/\\(.)/g, '$1') : (bracket[2] ?? '').trim();
    return { display, uri: (bracket[3] ?? '').trim(), params: parseParams(bracket[4] ?? '') };
  }
  // Without brackets everything behind the first semicolon belongs to the header, not to the URI.
  const semicolon = value.indexOf(';');
  const uri = (semicolon < 0 ? value : value.slice(0, semicolon)).trim();
  if (!/^[a-z][a-z0-9+.-]*:\S+$/i.test(uri)) return undefined;
  return { display: '', uri, params: parseParams(semicolon < 0 ? '' : value.slice(semicolon)) };
}

export interface Via {
  transport: string;
  host: string;
  port?: number;
  params: Readonly<Record<string, string>>;
}

export function parseVia(value: string): Via | undefined {
  const match =
    /^SIP\s*\/\s*2\.0\s*\/\s*([A-Za-z]+)\s+(\[[^\]]+\]|[^\s:;]+)\s*(?::\s*(\d{1,5}))?\s*(;.*)?$/is.exec(
      value.trim(),
    );
  if (!match) return undefined;
  return {
    transport: (match[1] ?? '').toUpperCase(),
    host: (match[2] ?? '').replace(/^\[|\]$/g, ''),
    port: match[3] === undefined ? undefined : Number(match[3]),
    params: parseParams(match[4] ?? ''),
  };
}

/**
 * The topmost Via as the server writes it back: `received` where the source differs from the sent-by host,
 * and the source port in `rport` where the client asked for it (RFC 3581 section 4).
 */
export function stampVia(value: string, address: string, port: number): string {
  const via = parseVia(value);
  if (!via) return value;
  let stamped = value.trim();
  if ('rport' in via.params) {
    stamped = stamped.replace(/;\s*rport\s*(?:=\s*\d*)?(?=\s*(?:;|$))/i, `;rport=${port}`);
    stamped += `;received=${address}`;
  } else if (via.host !== address) stamped += `;received=${address}`;
  return stamped;
}

export interface CSeq {
  number: number;
  method: string;
}

export function parseCSeq(value: string | undefined): CSeq | undefined {
  const match = /^\s*(\d{1,10})\s+(\S+)\s*$/.exec(value ?? '');
  const number = Number(match?.[1]);
  if (!match || number > 0xffff_ffff) return undefined;
  return { number, method: match[2] ?? '' };
}
