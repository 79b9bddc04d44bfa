import { CALL_HEADERS } from '../lib/call-headers.ts';
import { MediaError, type LegRequest, type OriginateRequest } from './media.ts';

export interface DialedLeg extends Pick<LegRequest, 'uris' | 'from' | 'headers' | 'timeoutSeconds'> {
  /** The uuid the leg gets. */
  uuid: string;
  /** The channel it is rung for. */
  of: string;
  /** `host:port` */
  kamailio: string;
}

/**
 * The argument of `bridge` for one leg. The variables are separated by `~`, which with braces, quotes and
 * backslashes is all that means something in there: in a URI they can be written as escapes, and elsewhere
 * they have no business.
 * @throws MediaError when a header cannot be sent.
 */
export function dialString({ of, timeoutSeconds, ...leg }: DialedLeg): string {
  return placed({ ...leg, seconds: timeoutSeconds, more: [['mv_leg_of', of]] });
}

/** The same for a leg into a room on another node: its way is in its headers. */
export function roomString({ of, timeoutSeconds, ...leg }: Omit<DialedLeg, 'uris'>): string {
  return rendered({ ...leg, user: 'room', seconds: timeoutSeconds, more: [['mv_leg_of', of]] });
}

/**
 * How long an outbound call that has been answered waits for instructions, in s: then nobody is there who
 * would give any.
 */
const ORPHAN_SECONDS = 30;

/**
 * The command that places an outbound call and parks it when it is answered. What the dialplan gives to a
 * call that comes in is given here as well: see freeswitch/conf/dialplan. Words of a command are separated by
 * spaces, unless in quotes.
 * @throws MediaError when a header cannot be sent.
 */
export function originateCommand({
  uuid,
  uris,
  from,
  headers,
  ringSeconds,
  kamailio,
}: OriginateRequest & { kamailio: string }): string {
  const call = placed({
    uuid,
    uris,
    from,
    headers,
    kamailio,
    seconds: ringSeconds,
    quoted: true,
    more: [
      ['hangup_after_bridge', 'false'],
      ['continue_on_fail', 'true'],
      // Taken back by whoever takes the call, by the uuid.
      ['api_on_answer', `sched_hangup +${ORPHAN_SECONDS} ${uuid} NORMAL_TEMPORARY_FAILURE`],
    ],
  });
  return `originate ${call} &park()`;
}

interface Rendered extends Pick<DialedLeg, 'uuid' | 'from' | 'headers' | 'kamailio'> {
  /** Whom the leg's To names. */
  user: string;
  seconds: number;
  more: [string, string][];
  /** Values that hold a space are put in quotes. */
  quoted?: boolean;
}

function placed({ uris, headers, ...leg }: Omit<Rendered, 'user'> & Pick<DialedLeg, 'uris'>): string {
  if (uris.length === 0) throw new MediaError('a leg needs a target');
  return rendered({
    ...leg,
    headers: { ...headers, [CALL_HEADERS.targets]: uris.map(escaped).join('|') },
    user: userOf(uris[0] ?? ''),
  });
}

function rendered({ uuid, from, headers, kamailio, user, seconds, more, quoted = false }: Rendered): string {
  const variables: [string, string][] = [
    ['origination_uuid', uuid],
    ...more,
    // The node counts whole seconds of the clock, so that up to one of them is missing.
    ['originate_timeout', String(Math.ceil(seconds) + 1)],
    // The caller hears our ringback, whatever the far end sends before it answers.
    ['ignore_early_media', 'true'],
    ['origination_caller_id_number', shownAs(from)],
    ['origination_caller_id_name', shownAs(from)],
    ...Object.entries(headers).map(([name, value]): [string, string] => [`sip_h_${name}`, value]),
  ];
  for (const [name, value] of variables) {
    if (
      !/^[\w-]*[A-Za-z0-9]$/.test(name) ||
      !/^[!-~](?:[ -~]*[!-~])?$/.test(value) ||
      /[~{}'"\\]|\$\{|:_:/.test(value)
    )
      throw new MediaError(`${name} cannot be sent: ${value}`);
  }
  const text = (value: string): string => (quoted && value.includes(' ') ? `'${value}'` : value);
  return `{^^~${variables.map(([name, value]) => `${name}=${text(value)}`).join('~')}}sofia/minivoice/${user}@${kamailio}`;
}

/** Where the leg goes is in the header `targets`; its To names whom. */
const userOf = (uri: string): string => /^sips?:([\w+.-]+)@/.exec(uri)?.[1] ?? 'leg';

/** The uuid of the leg that a dial string of ours makes. */
export const legOf = (argument: string): string | undefined =>
  /[~{]origination_uuid=([\w-]+)/.exec(argument)?.[1];

/** A caller as the user part of a URI, which may hold more than a number (RFC 3261 §25.1). */
const shownAs = (from: string): string => escaped(from).replaceAll(':', '%3A') || 'anonymous';

/** What a URI may not hold as it is (RFC 3986 §2.1), and what means something in a dial string. */
const escaped = (uri: string): string => uri.replace(/[^!-~]|[~{}'"\\$|<>^`]/gu, encode);

const encode = (character: string): string =>
  [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
