import { PAYLOAD_TYPE, type Codec } from '../../cli/phone/codec.ts';
import type { HostPort } from '../../cli/phone/sip-message.ts';

/** The little of SDP (RFC 8866) that a call with one audio stream needs. */
export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

export interface AudioDescription extends HostPort {
  payloadTypes: number[];
  /** Payload type of telephone-event at 8 kHz, if it is offered. */
  eventType: number | undefined;
  direction: Direction;
}

export function writeSdp(
  at: HostPort,
  options: {
    codecs: readonly Codec[];
    eventType: number | undefined;
    direction: Direction;
    session: number;
    version: number;
  },
): string {
  const { codecs, eventType, direction, session, version } = options;
  const types = [
    ...codecs.map((codec) => PAYLOAD_TYPE[codec]),
    ...(eventType === undefined ? [] : [eventType]),
  ];
  return [
    'v=0',
    `o=phone ${session} ${version} IN IP4 ${at.host}`,
    's=-',
    `c=IN IP4 ${at.host}`,
    't=0 0',
    `m=audio ${at.port} RTP/AVP ${types.join(' ')}`,
    ...codecs.map((codec) => `a=rtpmap:${PAYLOAD_TYPE[codec]} ${codec}/8000`),
    ...(eventType === undefined
      ? []
      : [`a=rtpmap:${eventType} telephone-event/8000`, `a=fmtp:${eventType} 0-16`]),
    `a=${direction}`,
    'a=ptime:20',
    '',
  ].join('\r\n');
}

/** @throws Error when there is no audio in it. */
export function readSdp(body: string): AudioDescription {
  const lines = body.split(/\r?\n/);
  // A stream with the port 0 is declined (RFC 3264 §6).
  const open = lines.findIndex((line) => /^m=audio [1-9]/.test(line));
  const start = open < 0 ? lines.findIndex((line) => line.startsWith('m=audio ')) : open;
  if (start < 0) throw new Error('no audio in the SDP');
  const next = lines.findIndex((line, i) => i > start && line.startsWith('m='));
  const media = lines.slice(start, next < 0 ? undefined : next);
  const [, port, , ...types] = (media[0] ?? '').slice(2).split(' ');
  const session = lines.slice(
    0,
    lines.findIndex((line) => line.startsWith('m=')),
  );
  const connection = [...media, ...session].find((line) => line.startsWith('c='));
  const event = media.map((line) => /^a=rtpmap:(\d+) telephone-event\/8000/i.exec(line)?.[1]).find(Boolean);
  const direction = [...media, ...session]
    .map((line) => /^a=(sendrecv|sendonly|recvonly|inactive)$/.exec(line)?.[1])
    .find(Boolean);
  return {
    host: connection?.split(' ')[2] ?? '',
    port: Number(port),
    payloadTypes: types.map(Number),
    eventType: event === undefined ? undefined : Number(event),
    direction: (direction as Direction | undefined) ?? 'sendrecv',
  };
}
