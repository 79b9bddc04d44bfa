import { isAddress } from './addresses.ts';
import { isLocalhost, mayReach } from './guarded-agent.ts';

export type FetchErrorKind =
  | 'invalid_url'
  | 'forbidden_address'
  | 'dns'
  | 'connect'
  | 'connect_timeout'
  | 'tls'
  | 'timeout'
  | 'reset'
  | 'bad_response'
  | 'too_large'
  | 'too_many_redirects'
  | 'aborted';

/** A request to a customer's URL that brought no reply. The message is for the developer whose URL it is. */
export class FetchError extends Error {
  readonly kind: FetchErrorKind;
  /** Whether any connection was made, to the first host or after a redirect. */
  readonly connected: boolean;
  /** The URL that failed, which after redirects is not the one asked for. */
  readonly url: string;
  readonly tookMs: number;

  constructor(
    kind: FetchErrorKind,
    message: string,
    where: { url: string; connected?: boolean; tookMs?: number },
  ) {
    super(message);
    this.name = 'FetchError';
    this.kind = kind;
    this.url = where.url;
    this.connected = where.connected ?? false;
    this.tookMs = where.tookMs ?? 0;
  }
}

// The ports no web server is at but other protocols are, which could be talked into something by an HTTP
// request (fetch.spec.whatwg.org, "port blocking").
const BLOCKED_PORTS = new Set([
  1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
  109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
  526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
  3306, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
  11211,
]);

interface UrlRules {
  allowPrivate: boolean;
  schemes?: readonly string[] | undefined;
  /** In characters, as it is sent. */
  longest?: number;
}

/** Of a URL as it is configured. What a request adds to it counts towards `LONGEST_SENT`. */
export const LONGEST_CONFIGURED = 2048;
/** Of a URL as it is asked for: what any server takes (RFC 9110 §4.1). */
export const LONGEST_SENT = 8192;

/**
 * What can be said of a customer's URL without asking a name server; for saving one, and before every
 * request. Decimal, octal and hexadecimal addresses are told apart from names by the URL parser itself.
 * @throws FetchError of kind `invalid_url` or `forbidden_address`.
 */
export function checkUrl(
  url: string,
  { allowPrivate, schemes = ['http', 'https'], longest = LONGEST_CONFIGURED }: UrlRules,
): URL {
  const invalid = (message: string): FetchError => new FetchError('invalid_url', message, { url });
  const tooLong = (): FetchError => invalid(`the URL is longer than ${longest} characters`);
  if (url.length > longest) throw tooLong();
  if (!URL.canParse(url)) throw invalid('this is not a valid absolute URL');
  const parsed = new URL(url);
  // Other characters than ASCII are sent as three for each of their bytes.
  if (parsed.href.length > longest) throw tooLong();
  if (!schemes.includes(parsed.protocol.slice(0, -1)))
    throw invalid(`the URL must begin with ${schemes.map((s) => `${s}://`).join(' or ')}`);
  if (parsed.username !== '' || parsed.password !== '')
    throw invalid('the URL must not contain a user name or password');
  if (parsed.hostname === '') throw invalid('the URL names no host');
  if (parsed.port !== '' && (parsed.port === '0' || BLOCKED_PORTS.has(Number(parsed.port))))
    throw invalid(`port ${parsed.port} belongs to another protocol`);
  const host = hostOf(parsed);
  if (isAddress(host) ? !mayReach(host, allowPrivate) : isLocalhost(host) && !allowPrivate) {
    throw new FetchError('forbidden_address', `${host} is not a public address`, { url });
  }
  return parsed;
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');

/** A URL with its query as it was written: the URL parser would encode some characters of it anew. */
export interface Target {
  url: URL;
  /** What is sent behind the question mark, and signed. */
  query: string;
  /** Path and query. */
  path: string;
  href: string;
}

/** @param written what `url` was parsed from, if only relative to another URL */
export function targetOf(url: URL, written: string): Target {
  const [reference = ''] = written.split('#', 1);
  const mark = reference.indexOf('?');
  const query = mark < 0 ? url.search.slice(1) : asAscii(reference.slice(mark + 1));
  const path = url.pathname + (mark < 0 ? url.search : `?${query}`);
  return { url, query, path, href: url.origin + path };
}

/**
 * What is no printable ASCII, percent-encoded as UTF-8. White space around a URL, and line ends in it, are
 * none of it.
 */
const asAscii = (text: string): string =>
  Array.from(Buffer.from(text.trim().replaceAll(/[\t\r\n]/g, '')), (byte) =>
    byte > 0x20 && byte < 0x7f
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('');
