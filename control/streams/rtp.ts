/** An RTP packet (RFC 3550 §5.1). */
export interface RtpPacket {
  payloadType: number;
  timestamp: number;
  ssrc: number;
  payload: Buffer;
}

/** Undefined for what is no RTP, RTCP on the same port included (RFC 5761 §4). */
export function parseRtp(datagram: Buffer): RtpPacket | undefined {
  if (datagram.length < 12) return undefined;
  const first = datagram.readUInt8(0);
  const second = datagram.readUInt8(1);
  if (first >> 6 !== 2 || (second >= 192 && second <= 223)) return undefined;
  let start = 12 + 4 * (first & 15);
  let end = datagram.length;
  if (first & 0x10) {
    if (start + 4 > end) return undefined;
    start += 4 + 4 * datagram.readUInt16BE(start + 2);
  }
  if (first & 0x20) end -= datagram.readUInt8(end - 1);
  if (start > end) return undefined;
  return {
    payloadType: second & 0x7f,
    timestamp: datagram.readUInt32BE(4),
    ssrc: datagram.readUInt32BE(8),
    payload: datagram.subarray(start, end),
  };
}

/** One outgoing RTP stream of PCMU: numbers its packets. */
export class RtpWriter {
  readonly #ssrc = Math.floor(Math.random() * 2 ** 32);
  #sequence = Math.floor(Math.random() * 2 ** 16);
  readonly #origin = Math.floor(Math.random() * 2 ** 32);

  /**
   * @param position of the frame's first sample on the sender's clock
   * @param marker the first frame after a pause (RFC 3551 §4.1)
   */
  packet(frame: Buffer, position: number, marker: boolean): Buffer {
    const header = Buffer.alloc(12);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    header.writeUInt8(0x80, 0);
    header.writeUInt8(marker ? 0x80 : 0, 1);
    header.writeUInt16BE(this.#sequence, 2);
    header.writeUInt32BE((this.#origin + position) % 2 ** 32, 4);
    header.writeUInt32BE(this.#ssrc, 8);
    return Buffer.concat([header, frame]);
  }
}
