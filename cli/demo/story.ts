import type { Received } from '../../examples/simple-ivr/server.ts';
import type { StoryLine } from '../phone/demo-caller.ts';

/** One line of a call's timeline as `GET /v1/calls/:id/events` shows it. */
export interface TimelineEntry {
  at: string;
  kind: string;
  [field: string]: unknown;
}

/**
 * Who does something, as a reader follows it from left to right: the carrier's side, the platform, the
 * customer's program.
 */
type Actor = 'caller' | 'minivoice' | 'app';

export interface Line {
  at: Date;
  actor: Actor;
  text: string;
}

const quoted = (value: unknown): string => (typeof value === 'string' ? `"${value}"` : JSON.stringify(value));
const ms = (value: unknown): string => (typeof value === 'number' ? ` in ${Math.round(value)} ms` : '');

/** An action as its author wrote it, in short. */
function action(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  const { type, ...fields } = value as Record<string, unknown>;
  const [name, inner] =
    typeof type === 'string' ? ([type, fields] as const) : (Object.entries(value)[0] ?? ['?', {}]);
  const { text, prompt, url } = inner as Record<string, unknown>;
  const main = text ?? prompt ?? url;
  return main === undefined ? name : `${name} ${name === 'redirect' ? shortUrl(String(main)) : quoted(main)}`;
}

/** Path and the parameters that tell something: ids and numbers are in the call object at the end. */
export function shortUrl(url: string): string {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const shown = ['attempt', 'digits', 'gather_status', 'status']
    .filter((name) => searchParams.has(name))
    .map((name) => `${name}=${searchParams.get(name) ?? ''}`);
  return pathname + (shown.length > 0 ? `?${shown.join('&')}` : '');
}

/**
 * What the platform says happened, in words. Kinds that have none here are shown as they are; undefined is
 * told elsewhere.
 */
function told(entry: TimelineEntry): string | undefined {
  const { at: _at, kind, ...detail } = entry;
  const get = (name: string): unknown => detail[name];
  switch (kind) {
    case 'call.created':
      return `decided: ${String(get('from'))} → ${String(get('to'))} came by a trunk that may, the number is the customer's, a webhook drives it`;
    case 'media.parked':
      return 'a media node holds the call, unanswered';
    case 'answer_url.requested':
      return `asks the application: ${String(get('method'))} ${shortUrl(String(get('url')))}`;
    case 'answer_url.replied':
      return `got instructions${ms(get('took_ms'))}`;
    case 'answer_url.failed':
      return `got no instructions: ${String(get('message') ?? get('error'))}`;
    case 'call.answered':
      return 'answers the call';
    case 'action.started':
      return `does ${action({ type: get('action'), ...detail })}`;
    case 'action.ended':
      return undefined;
    case 'digit':
      return `understood key ${String(get('digit'))}`;
    case 'call.gathered':
      return `gathered ${quoted(get('digits') ?? '')}: ${String(get('status'))}`;
    case 'call.completed':
      return `the call is completed, ${String(get('billsec_seconds') ?? 0)} s to bill`;
    case 'webhook.attempted':
      return typeof get('status') === 'number' && Number(get('status')) < 300
        ? undefined
        : `webhook ${String(get('event'))} was not taken: ${String(get('error') ?? get('status'))}`;
    default:
      return [kind, ...Object.entries(detail).map(([name, value]) => `${name}=${quoted(value)}`)].join(' ');
  }
}

function received(entry: Received): string {
  const signature = entry.verified ? 'signature verified' : 'SIGNATURE NOT VALID';
  if (entry.kind === 'webhook') return `webhook ${entry.event ?? '?'}, ${signature}`;
  return `is asked ${shortUrl(entry.url ?? '')}, ${signature}; replies ${(entry.actions ?? []).map(action).join(', ')}`;
}

/** The part of a Contact that hides who is behind it: long, and telling nothing. */
const HIDDEN = /sip:[^@\s]{25,}@/;

/** Everything that is known of one call, from the three who took part in it, on one clock. */
export function storyOf(
  caller: readonly StoryLine[],
  timeline: readonly TimelineEntry[],
  application: readonly Received[],
): Line[] {
  const verbs = { sip: '', heard: 'hears ', pressed: 'presses ', missed: 'DID NOT HEAR ' };
  const lines: Line[] = [
    ...caller.map((line) => ({
      at: line.at,
      actor: 'caller' as const,
      text: `${verbs[line.kind]}${line.what.replace(HIDDEN, 'sip:…@')}`,
    })),
    ...timeline.flatMap((entry) => {
      const text = told(entry);
      return text === undefined ? [] : [{ at: new Date(entry.at), actor: 'minivoice' as const, text }];
    }),
    ...application.map((entry) => ({ at: new Date(entry.at), actor: 'app' as const, text: received(entry) })),
  ];
  return lines.sort((a, b) => a.at.getTime() - b.at.getTime());
}

const NAMES: Record<Actor, string> = { caller: 'caller', minivoice: 'MiniVoice', app: 'your app' };

/** As printed: seconds since the first line, who, and what. */
export function print(lines: readonly Line[], color: boolean, width = 160): string[] {
  const start = lines[0]?.at.getTime() ?? 0;
  const paint = (actor: Actor, text: string): string =>
    color ? `\x1b[${{ caller: 36, minivoice: 0, app: 33 }[actor]}m${text}\x1b[0m` : text;
  return lines.map(({ at, actor, text }) => {
    const line = `${((at.getTime() - start) / 1000).toFixed(3).padStart(8)} s  ${NAMES[actor].padEnd(10)} ${text}`;
    return paint(actor, line.length > width ? `${line.slice(0, width - 1)}…` : line);
  });
}

/** What a call that did as it should has left behind; the sentences say what is missing. */
export function shortcomings(
  call: { status: string },
  heardAll: boolean,
  timeline: readonly TimelineEntry[],
  application: readonly Received[],
): string[] {
  const webhooks = application.filter((entry) => entry.kind === 'webhook');
  const missing = ['call.created', 'call.answered', 'call.gathered', 'call.completed'].filter(
    (event) => !webhooks.some((entry) => entry.event === event && entry.verified),
  );
  return [
    ...(heardAll ? [] : ['the caller did not hear every prompt, or the platform did not end the call']),
    ...(call.status === 'completed' ? [] : [`the call is ${call.status}`]),
    ...(timeline.some((entry) => entry.kind === 'call.gathered' && entry['digits'] === '1')
      ? []
      : ['the key was not gathered']),
    ...missing.map((event) => `no webhook ${event} with a valid signature came`),
    ...(application.every((entry) => entry.verified)
      ? []
      : ['a request to the application had no valid signature']),
  ];
}
