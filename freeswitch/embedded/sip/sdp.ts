/** Session descriptions (RFC 8866) and the offer/answer exchange (RFC 3264), for one G.711 audio stream. */

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

export interface SdpFormat {
  payload: number;
  /** Encoding name in upper case, where known. */
  name: string;
  rate: number;
}

export interface SdpMedia {
  kind: string;
  port: number;
  protocol: string;
  /** The format list as written: needed to refuse a stream in its own words. */
  formatList: string;
  formats: SdpFormat[];
  address: string;
  direction: Direction;
}

export interface SessionDescription {
  media: SdpMedia[];
}

/** Static payload types of RFC 3551 that matter here. */
const STATIC: Readonly<Record<number, SdpFormat & { name: 'PCMU' | 'PCMA' }>> = {
  0: { payload: 0, name: 'PCMU', rate: 8000 },
  8: { payload: 8, name: 'PCMA', rate: 8000 },
};

const DIRECTIONS: readonly string[] = ['sendrecv', 'sendonly', 'recvonly', 'inactive'];
const MAX_STREAMS = 16;

/** @returns undefined when the text is no session description. */
export function parseSdp(text: string): SessionDescription | undefined {
  const lines = text.split(/\r?\n/);
  if (lines[0]?.trim() !== 'v=0') return undefined;
  let sessionAddress = '';
  let sessionDirection: Direction = 'sendrecv';
  const media: SdpMedia[] = [];
  let current: SdpMedia | undefined;
  for (const raw of lines) {
    const line = raw.trim();
    const value = line.slice(2);
    if (line.startsWith('m=')) {
      const match = /^(\S+)\s+(\d{1,5})(?:\/\d+)?\s+(\S+)\s+(.*)$/.exec(value);
      if (!match || Number(match[2]) > 65_535) return undefined;
      const formatList = (match[4] ?? '').trim();
      const formats: SdpFormat[] = [];
      for (const item of formatList.split(/\s+/)) {
        if (/^\d{1,3}$/.test(item) && Number(item) < 128)
          formats.push({ ...(STATIC[Number(item)] ?? { payload: Number(item), name: '', rate: 0 }) });
      }
      current = {
        kind: match[1] ?? '',
        port: Number(match[2]),
        protocol: match[3] ?? '',
        formatList,
        formats,
        address: sessionAddress,
        direction: sessionDirection,
      };
      media.push(current);
      if (media.length > MAX_STREAMS) return undefined;
    } else if (line.startsWith('c=')) {
      const address = /^IN\s+IP[46]\s+([^\s/]+)/.exec(value)?.[1];
      if (address && current) current.address = address;
      else if (address) sessionAddress = address;
    } else if (line.startsWith('a=rtpmap:')) {
      const match = /^rtpmap:(\d{1,3})\s+([^/\s]+)\/(\d+)/.exec(value);
      const format = current?.formats.find((f) => f.payload === Number(match?.[1]));
      if (match && format) {
        format.name = (match[2] ?? '').toUpperCase();
        format.rate = Number(match[3]);
      }
    } else if (line.startsWith('a=') && DIRECTIONS.includes(value)) {
      if (current) current.direction = value as Direction;
      else sessionDirection = value as Direction;
    }
  }
  return { media };
}

export type Codec = 'PCMU' | 'PCMA';

/** What a payload type may stand for here. */
export type Format = Codec | 'event';

/** What both sides agreed on. */
export interface AudioAgreement {
  /** What we send: the codec the far end likes best, under the far end's number. */
  codec: Codec;
  payload: number;
  /** Payload type of telephone-event; absent when the far end has none. */
  eventPayload?: number;
  /** What the far end may send, at any time (RFC 3264 section 5.1), by payload type. */
  receives: ReadonlyMap<number, Format>;
  /** Where the far end wants its audio. */
  remote: { address: string; port: number };
  /** Our own direction. */
  direction: Direction;
}

const EVENT_PAYLOAD = 101;

/** The payload types of our own offers. */
const OFFERED: ReadonlyMap<number, Format> = new Map<number, Format>([
  [0, 'PCMU'],
  [8, 'PCMA'],
  [EVENT_PAYLOAD, 'event'],
]);

const formatOf = ({ name, rate }: SdpFormat): Format | undefined => {
  if (rate !== 8000) return undefined;
  if (name === 'TELEPHONE-EVENT') return 'event';
  return name === 'PCMU' || name === 'PCMA' ? name : undefined;
};

/**
 * The payload types that may come. The far end has to use our numbers in answer to an offer of ours; one that
 * uses its own is understood nevertheless, and so is a static type nobody has named.
 */
function receivable(media: SdpMedia, offered: boolean): Map<number, Format> {
  const receives = new Map<number, Format>(offered ? OFFERED : []);
  for (const format of media.formats) {
    const known = formatOf(format);
    if (known && !receives.has(format.payload)) receives.set(format.payload, known);
  }
  for (const { payload, name } of Object.values(STATIC)) {
    if (!receives.has(payload) && !media.formats.some((f) => f.payload === payload))
      receives.set(payload, name);
  }
  return receives;
}

/**
 * The first audio stream of the description we can take, and its index.
 * @param offered the description answers an offer of ours
 */
export function chooseAudio(
  remote: SessionDescription,
  offered = false,
): { agreement: AudioAgreement; index: number } | undefined {
  for (const [index, media] of remote.media.entries()) {
    if (media.kind !== 'audio' || media.port === 0 || media.protocol !== 'RTP/AVP' || !media.address)
      continue;
    const format = media.formats.find((f) => formatOf(f) === 'PCMU' || formatOf(f) === 'PCMA');
    if (!format) continue;
    const event = media.formats.find((f) => formatOf(f) === 'event');
    // 0.0.0.0 is the old way to say hold (RFC 3264 section 8.4).
    const held = media.address === '0.0.0.0';
    return {
      index,
      agreement: {
        codec: format.name === 'PCMU' ? 'PCMU' : 'PCMA',
        payload: format.payload,
        eventPayload: event?.payload,
        receives: receivable(media, offered),
        remote: { address: media.address, port: media.port },
        direction: held && media.direction === 'sendrecv' ? 'recvonly' : reverse(media.direction),
      },
    };
  }
  return undefined;
}

/** The direction as the other side of the stream sees it. */
export function reverse(direction: Direction): Direction {
  if (direction === 'sendonly') return 'recvonly';
  return direction === 'recvonly' ? 'sendonly' : direction;
}

/** Identity of the descriptions one dialog sends: the version grows with each that differs. */
export interface SdpOrigin {
  id: number;
  version: number;
  address: string;
}

function head(origin: SdpOrigin): string[] {
  return [
    'v=0',
    `o=MiniVoice ${origin.id} ${origin.version} IN IP4 ${origin.address}`,
    's=MiniVoice',
    `c=IN IP4 ${origin.address}`,
    't=0 0',
  ];
}

const CODEC_LINES: Readonly<Record<Codec, string>> = { PCMU: 'PCMU/8000', PCMA: 'PCMA/8000' };

/**
 * Our answer: the chosen stream taken, all others refused with port 0 in their place (RFC 3264 section 6).
 */
export function answerSdp(
  offer: SessionDescription,
  chosen: { agreement: AudioAgreement; index: number },
  origin: SdpOrigin,
  port: number,
): string {
  const lines = head(origin);
  const { agreement } = chosen;
  for (const [index, media] of offer.media.entries()) {
    if (index !== chosen.index) {
      lines.push(`m=${media.kind} 0 ${media.protocol} ${media.formatList}`);
      continue;
    }
    const event = agreement.eventPayload;
    lines.push(`m=audio ${port} RTP/AVP ${agreement.payload}${event === undefined ? '' : ` ${event}`}`);
    lines.push(`a=rtpmap:${agreement.payload} ${CODEC_LINES[agreement.codec]}`);
    if (event !== undefined) lines.push(`a=rtpmap:${event} telephone-event/8000`, `a=fmtp:${event} 0-15`);
    lines.push(`a=${agreement.direction}`, 'a=ptime:20');
  }
  return `${lines.join('\r\n')}\r\n`;
}

/** Our offer: in an INVITE of ours, or for one that came without. */
export function offerSdp(origin: SdpOrigin, port: number, first: Codec = 'PCMU'): string {
  return `${[
    ...head(origin),
    `m=audio ${port} RTP/AVP ${first === 'PCMU' ? '0 8' : '8 0'} ${EVENT_PAYLOAD}`,
    'a=rtpmap:0 PCMU/8000',
    'a=rtpmap:8 PCMA/8000',
    `a=rtpmap:${EVENT_PAYLOAD} telephone-event/8000`,
    `a=fmtp:${EVENT_PAYLOAD} 0-15`,
    'a=sendrecv',
    'a=ptime:20',
  ].join('\r\n')}\r\n`;
}
