import { expect } from 'chai';
import { sign } from '../../../control/webhooks/signature.ts';
import { verify } from './verify.ts';

describe('webhook signature', () => {
  const at = 1_700_000_000;
  const body = '{"ä":1}';
  const lower = (headers: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const check = (secret: string, headers: Record<string, string>, sent = body, now = at): Promise<boolean> =>
    verify(secret, lower(headers), Buffer.from(sent), new Date(now * 1000));

  it('is the HMAC-SHA256 that openssl computes', () => {
    expect(sign(['whsec_one'], body, at)).to.deep.equal({
      'X-MiniVoice-Timestamp': '1700000000',
      'X-MiniVoice-Signature': 'v1=d3484f68cfff85db01acd6742848d59a4720bdefb2937156741642828e91284e',
    });
  });

  it('is made with both secrets while one is rotating, and each is enough', async () => {
    const headers = sign(['whsec_one', 'whsec_two'], body, at);
    expect(headers['X-MiniVoice-Signature']).to.equal(
      'v1=d3484f68cfff85db01acd6742848d59a4720bdefb2937156741642828e91284e,v1=7ab176ffd5e9e209b78b6323190f542c9264ccf83c5b5cdd691ea56b1ed8df61',
    );
    expect([
      await check('whsec_one', headers),
      await check('whsec_two', headers),
      await check('whsec_three', headers),
    ]).to.deep.equal([true, true, false]);
  });

  it('is of the bytes as they are sent, and of the time', async () => {
    const headers = sign(['s'], Buffer.from(body), at);
    expect(headers).to.deep.equal(sign(['s'], body, at));
    expect(await check('s', headers)).to.equal(true);
    expect(await check('s', headers, '{"ä":2}')).to.equal(false);
    expect(await check('s', { ...headers, 'X-MiniVoice-Timestamp': String(at + 1) })).to.equal(false);
    expect(await check('s', headers, body, at + 301)).to.equal(false);
  });

  it('has whole seconds, also where the clock has more', () => {
    expect(sign(['s'], body, at + 0.999)).to.deep.equal(sign(['s'], body, at));
  });

  it('is absent without a secret', () => {
    expect(sign([], body, at)).to.deep.equal({});
  });
});
