import { createRequire } from 'node:module';
import type * as G711 from 'alawmulaw';
import { expect } from 'chai';
import { decode, encode } from '../../../freeswitch/embedded/rtp/g711.ts';

// The package has no named exports that every loader of modules would find.
const { alaw, mulaw } = createRequire(import.meta.url)('alawmulaw') as typeof G711;

const every = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768);
const codes = Uint8Array.from({ length: 256 }, (_, i) => i);

describe('embedded: G.711', () => {
  it('decodes every µ-law code as an independent implementation does', () => {
    expect([...decode('PCMU', codes)]).to.deep.equal([...mulaw.decode(codes)]);
  });

  it('decodes every A-law code as an independent implementation does', () => {
    expect([...decode('PCMA', codes)]).to.deep.equal([...alaw.decode(codes)]);
  });

  it('encodes every sample to the code, or to one as near, that an independent implementation chooses', () => {
    for (const [law, other] of [
      ['PCMU', mulaw],
      ['PCMA', alaw],
    ] as const) {
      const ours = decode(law, encode(law, every));
      const theirs = other.decode(other.encode(every));
      for (let i = 0; i < every.length; i++) {
        const sample = every[i] ?? 0;
        const error = Math.abs((ours[i] ?? 0) - sample);
        expect(error, `${law} ${sample}`).to.be.at.most(Math.abs((theirs[i] ?? 0) - sample) + 16);
      }
    }
  });

  it('gives back every code it decodes', () => {
    // µ-law has two zeroes, of which only one can come back.
    for (const code of codes) {
      if (code !== 0x7f) expect(encode('PCMU', decode('PCMU', Uint8Array.of(code)))[0]).to.equal(code);
      expect(encode('PCMA', decode('PCMA', Uint8Array.of(code)))[0]).to.equal(code);
    }
  });

  it('encodes silence as silence', () => {
    expect(encode('PCMU', Int16Array.of(0))[0]).to.equal(0xff);
    expect(encode('PCMA', Int16Array.of(0))[0]).to.equal(0xd5);
  });
});
