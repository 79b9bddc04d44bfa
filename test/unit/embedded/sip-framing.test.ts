import { expect } from 'chai';
import fc from 'fast-check';
import { StreamFraming } from '../../../freeswitch/embedded/sip/framing.ts';
import { SipSyntaxError } from '../../../freeswitch/embedded/sip/message.ts';

const message = (body: string): string =>
  `OPTIONS sip:a SIP/2.0\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

describe('embedded: SIP over a stream', () => {
  it('finds the messages wherever the stream is cut', () => {
    const bodies = ['', 'one', 'two\r\n\r\nthree'];
    const stream = Buffer.from(`\r\n\r\n${bodies.map(message).join('\r\n')}\r\n\r\n`);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 50 }), (sizes) => {
        const framing = new StreamFraming();
        const found: string[] = [];
        let at = 0;
        for (let i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          found.push(...framing.push(stream.subarray(at, at + size)).messages.map(String));
          at += size;
        }
        expect(found).to.deep.equal(bodies.map(message));
      }),
    );
  });

  it('counts a double line break as a ping', () => {
    const framing = new StreamFraming();
    expect(framing.push(Buffer.from('\r\n')).pings).to.equal(0);
    expect(framing.push(Buffer.from('\r\n')).pings).to.equal(1);
    expect(framing.push(Buffer.from(`\r\n\r\n${message('x')}`))).to.deep.include({ pings: 1 });
  });

  it('gives up a stream without lengths or without end', () => {
    expect(() => new StreamFraming().push(Buffer.from('OPTIONS sip:a SIP/2.0\r\n\r\n'))).to.throw(
      SipSyntaxError,
    );
    expect(() =>
      new StreamFraming().push(Buffer.from('OPTIONS sip:a SIP/2.0\r\nl: 999999\r\n\r\n')),
    ).to.throw(SipSyntaxError);
    expect(() => new StreamFraming().push(Buffer.alloc(70_000, 0x41))).to.throw(SipSyntaxError);
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 10 }), (chunks) => {
        const framing = new StreamFraming();
        try {
          for (const chunk of chunks) framing.push(Buffer.from(chunk));
        } catch (error) {
          if (!(error instanceof SipSyntaxError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });
});
