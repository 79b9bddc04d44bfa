import type { Frame } from './frames.ts';

/** An event of a node. Names of headers as FreeSWITCH writes them: `Unique-ID`, `variable_sip_call_id`. */
export interface EslEvent {
  name: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/**
 * Reads the event out of a `text/event-json` or `text/event-plain` frame; undefined for any other frame.
 * @throws Error when the frame says it is an event and is none.
 */
export function readEvent(frame: Frame): EslEvent | undefined {
  const type = frame.headers.get('content-type');
  if (type === 'text/event-json') return fromJson(frame.body);
  if (type === 'text/event-plain') return fromPlain(frame.body);
  return undefined;
}

/**
 * Reads the headers of a channel or event out of FreeSWITCH's JSON, in which every value is a text as it is,
 * or a list of texts.
 */
export function readJsonHeaders(text: string): Record<string, string> {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new Error('the JSON of an event is not an object');
  // In place: an event has some 200 headers, nearly all of them texts, and a call has half a dozen events.
  const headers = parsed as Record<string, unknown>;
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === 'string') continue;
    if (Array.isArray(value)) headers[name] = value.map(String).join(',');
    else if (typeof value === 'number' || typeof value === 'boolean') headers[name] = String(value);
    else delete headers[name];
  }
  return headers as Record<string, string>;
}

function fromJson(text: string): EslEvent {
  const headers = readJsonHeaders(text);
  const body = headers['_body'] ?? '';
  if (body) delete headers['_body'];
  return { name: headers['Event-Name'] ?? '', headers, body };
}

/** The plain form: one URL-encoded header a line, and after an empty line a body of its own length. */
function fromPlain(text: string): EslEvent {
  const end = text.indexOf('\n\n');
  const headers: Record<string, string> = {};
  for (const line of (end === -1 ? text : text.slice(0, end)).split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon)] = decode(line.slice(colon + 1).trim());
  }
  const length = Number(headers['Content-Length'] ?? 0);
  const body =
    end === -1 || !(length > 0)
      ? ''
      : Buffer.from(text.slice(end + 2))
          .subarray(0, length)
          .toString();
  return { name: headers['Event-Name'] ?? '', headers, body };
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
