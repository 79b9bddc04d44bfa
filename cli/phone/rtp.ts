/** RTP packets (RFC 3550 §5.1) and telephone events in them (RFC 4733 §2.3), as the test phone needs them. */
export interface RtpPacket {
  payloadType: number;
  marker: boolean;
  sequence: number;
  timestamp: number;
  ssrc: number;
  payload: Buffer;
}

/** Undefined when it is not RTP (RTCP and STUN share the port at times). */
export function parseRtp(datagram: Buffer): RtpPacket | undefined {
  if (datagram.length < 12 || datagram.readUInt8(0) >> 6 !== 2) return undefined;
  const first = datagram.readUInt8(0);
  const second = datagram.readUInt8(1);
  // 72..76 with the marker set is RTCP 200..204 on the same port (RFC 5761 §4).
  if (second >= 200 && second <= 204) return undefined;
  let offset = 12 + 4 * (first & 0x0f);
  if (first & 0x10) {
    if (datagram.length < offset + 4) return undefined;
    offset += 4 + 4 * datagram.readUInt16BE(offset + 2);
  }
  const padding = first & 0x20 ? datagram.readUInt8(datagram.length - 1) : 0;
  if (offset > datagram.length - padding) return undefined;
  return {
    payloadType: second & 0x7f,
    marker: (second & 0x80) !== 0,
    sequence: datagram.readUInt16BE(2),
    timestamp: datagram.readUInt32BE(4),
    ssrc: datagram.readUInt32BE(8),
    payload: datagram.subarray(offset, datagram.length - padding),
  };
}

export function writeRtp(packet: RtpPacket): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt8(0x80, 0);
  head.writeUInt8((packet.marker ? 0x80 : 0) | packet.payloadType, 1);
  head.writeUInt16BE(packet.sequence & 0xffff, 2);
  head.writeUInt32BE(packet.timestamp >>> 0, 4);
  head.writeUInt32BE(packet.ssrc >>> 0, 8);
  return Buffer.concat([head, packet.payload]);
}

const KEYS = '0123456789*#ABCD';

export interface TelephoneEvent {
  key: string;
  end: boolean;
  /** In units of the RTP clock, 8 to the millisecond. */
  duration: number;
}

export function parseTelephoneEvent(payload: Buffer): TelephoneEvent | undefined {
  if (payload.length < 4) return undefined;
  const key = KEYS[payload.readUInt8(0)];
  return key === undefined
    ? undefined
    : { key, end: (payload.readUInt8(1) & 0x80) !== 0, duration: payload.readUInt16BE(2) };
}

/** @throws Error on a key that a telephone does not have. */
export function writeTelephoneEvent(event: TelephoneEvent): Buffer {
  const code = KEYS.indexOf(event.key.toUpperCase());
  if (code < 0 || event.key.length !== 1) throw new Error(`no such key: ${event.key}`);
  const payload = Buffer.alloc(4);
  payload.writeUInt8(code, 0);
  // Volume 10 (−10 dBm0) is what most telephones send.
  payload.writeUInt8((event.end ? 0x80 : 0) | 10, 1);
  payload.writeUInt16BE(Math.min(event.duration, 0xffff), 2);
  return payload;
}
