import { headerEnd, MAX_MESSAGE, SipSyntaxError } from './message.ts';

const LENGTH = /\r?\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,6})[ \t]*\r?\n/i;

/**
 * Cuts a TCP stream into SIP messages by Content-Length (RFC 3261 section 18.3); CRLF between messages is
 * keep-alive.
 */
export class StreamFraming {
  #pending: Buffer = Buffer.alloc(0);

  /**
   * @returns the messages that are complete now, and how many double-CRLF pings came between them (RFC 5626
   *   4.4.1).
   * @throws SipSyntaxError when the stream cannot be followed any more and must be closed.
   */
  push(chunk: Buffer): { messages: Buffer[]; pings: number } {
    let data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const messages: Buffer[] = [];
    let pings = 0;
    for (;;) {
      let blank = 0;
      while (blank < data.length && (data[blank] === 0x0d || data[blank] === 0x0a)) blank++;
      if (blank >= 4) pings++;
      // A lone CR LF may be half of a ping: it only matters together with its other half.
      if (blank > 0 && !(blank === data.length && blank < 4)) data = data.subarray(blank);
      if (data.length === 0 || data[0] === 0x0d) break;
      const end = headerEnd(data);
      if (end < 0) {
        if (data.length > MAX_MESSAGE) throw new SipSyntaxError('header too large');
        break;
      }
      const declared = LENGTH.exec(data.toString('latin1', 0, end));
      if (!declared) throw new SipSyntaxError('no Content-Length on a stream');
      const total = end + Number(declared[1]);
      if (total > MAX_MESSAGE) throw new SipSyntaxError('message too large');
      if (data.length < total) break;
      messages.push(data.subarray(0, total));
      data = data.subarray(total);
    }
    this.#pending = data;
    return { messages, pings };
  }
}
