import { expect } from 'chai';
import fc from 'fast-check';
import { parse } from 'sdp-transform';
import {
  answerSdp,
  chooseAudio,
  offerSdp,
  parseSdp,
  type SdpOrigin,
} from '../../../freeswitch/embedded/sip/sdp.ts';

const origin: SdpOrigin = { id: 1, version: 2, address: '10.0.0.1' };

function offer(...media: string[]): string {
  return ['v=0', 'o=- 1 1 IN IP4 10.0.0.9', 's=-', 'c=IN IP4 10.0.0.9', 't=0 0', ...media, ''].join('\r\n');
}

const AUDIO = [
  'm=audio 4000 RTP/AVP 18 8 0 96 13',
  'a=rtpmap:18 G729/8000',
  'a=rtpmap:96 telephone-event/8000',
  'a=fmtp:96 0-15',
];

function answerTo(text: string): ReturnType<typeof parse> | undefined {
  const description = parseSdp(text);
  const chosen = description && chooseAudio(description);
  return description && chosen ? parse(answerSdp(description, chosen, origin, 30_000)) : undefined;
}

describe('embedded: offer and answer', () => {
  it('takes the first G.711 codec of the offer and telephone-event as offered', () => {
    const media = answerTo(offer(...AUDIO))?.media[0];
    expect(media?.payloads).to.equal('8 96');
    expect(media?.port).to.equal(30_000);
    expect(media?.rtp.map((r) => `${r.payload} ${r.codec}/${r.rate}`)).to.deep.equal([
      '8 PCMA/8000',
      '96 telephone-event/8000',
    ]);
    expect(media?.ptime).to.equal(20);
  });

  it('sends where the offer says, of the stream before the session', () => {
    const description = parseSdp(offer('m=audio 4000 RTP/AVP 0', 'c=IN IP4 192.0.2.7'));
    expect(description && chooseAudio(description)?.agreement.remote).to.deep.equal({
      address: '192.0.2.7',
      port: 4000,
    });
  });

  it('refuses extra streams in their place', () => {
    const answer = answerTo(
      offer('m=video 5000 RTP/AVP 97', ...AUDIO, 'm=audio 6000 RTP/AVP 0', 'm=image 7000 udptl t38'),
    );
    expect(answer?.media.map((m) => `${m.type} ${m.port} ${m.protocol}`)).to.deep.equal([
      'video 0 RTP/AVP',
      'audio 30000 RTP/AVP',
      'audio 0 RTP/AVP',
      'image 0 udptl',
    ]);
  });

  it('finds nothing in common where there is no G.711 over plain RTP', () => {
    for (const media of [
      'm=audio 4000 RTP/AVP 18',
      'm=audio 0 RTP/AVP 0',
      'm=audio 4000 RTP/SAVP 0',
      'm=video 4000 RTP/AVP 0',
    ]) {
      expect(answerTo(offer(media)), media).to.equal(undefined);
    }
    expect(answerTo(offer('m=audio 4000 RTP/AVP 0', 'a=rtpmap:0 PCMU/16000'))).to.equal(undefined);
  });

  it('answers hold with its counterpart', () => {
    const direction = (...attributes: string[]): string | undefined =>
      answerTo(offer('m=audio 4000 RTP/AVP 0', ...attributes))?.media[0]?.direction;
    expect(direction()).to.equal('sendrecv');
    expect(direction('a=sendonly')).to.equal('recvonly');
    expect(direction('a=recvonly')).to.equal('sendonly');
    expect(direction('a=inactive')).to.equal('inactive');
    expect(direction('c=IN IP4 0.0.0.0')).to.equal('recvonly');
    expect(
      answerTo(['v=0', 'c=IN IP4 10.0.0.9', 'a=sendonly', 'm=audio 4000 RTP/AVP 0'].join('\n'))?.media[0]
        ?.direction,
    ).to.equal('recvonly');
  });

  it('offers both codecs and telephone-event where asked to offer', () => {
    const media = parse(offerSdp(origin, 30_002)).media[0];
    expect(media?.rtp.map((r) => r.codec)).to.deep.equal(['PCMU', 'PCMA', 'telephone-event']);
    expect(media?.port).to.equal(30_002);
  });

  it('takes whatever either side has named, under the numbers of both, and both laws', () => {
    const receives = (text: string, offered: boolean): unknown => {
      const description = parseSdp(text);
      const agreement = description && chooseAudio(description, offered)?.agreement;
      return (
        agreement && [
          agreement.payload,
          agreement.codec,
          agreement.eventPayload,
          Object.fromEntries(agreement.receives),
        ]
      );
    };
    const renumbered = offer(
      'm=audio 4000 RTP/AVP 97 96',
      'a=rtpmap:97 PCMA/8000',
      'a=rtpmap:96 telephone-event/8000',
    );
    expect(receives(renumbered, true)).to.deep.equal([
      97,
      'PCMA',
      96,
      { 0: 'PCMU', 8: 'PCMA', 96: 'event', 97: 'PCMA', 101: 'event' },
    ]);
    expect(receives(renumbered, false)).to.deep.equal([
      97,
      'PCMA',
      96,
      { 0: 'PCMU', 8: 'PCMA', 96: 'event', 97: 'PCMA' },
    ]);
    // A number the far end uses for something else is not taken for audio, unless we have named it ourselves.
    const taken = offer('m=audio 4000 RTP/AVP 0 8 101', 'a=rtpmap:8 G729/8000', 'a=rtpmap:101 opus/48000/2');
    expect(receives(taken, false)).to.deep.equal([0, 'PCMU', undefined, { 0: 'PCMU' }]);
  });

  it('survives any text', () => {
    const line = fc.oneof(
      fc.string(),
      fc.constantFrom(...offer(...AUDIO).split('\r\n')),
      fc.string().map((s) => `m=${s}`),
      fc.string().map((s) => `a=rtpmap:${s}`),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const description = parseSdp(['v=0', ...lines].join('\r\n'));
        const chosen = description && chooseAudio(description);
        if (description && chosen) answerSdp(description, chosen, origin, 2);
      }),
      { numRuns: 500 },
    );
  });
});
