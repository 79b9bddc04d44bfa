import { expect } from 'chai';
import fc from 'fast-check';
import { Buckets } from '../../../control/http/buckets.ts';
import { clientAddresses } from '../../../control/http/client-address.ts';
import { RequestLimits } from '../../../control/http/request-limits.ts';
import { ApiError } from '../../../control/lib/errors.ts';

describe('allowances', () => {
  it('are so many at once, and then as many as time brings, each name for itself', () => {
    let now = 0;
    const buckets = new Buckets({ perSecond: 2, atOnce: 3 }, { now: () => now });
    const takes = (name: string, count: number): number[] =>
      Array.from({ length: count }, () => buckets.take(name));
    expect(takes('a', 5)).to.deep.equal([0, 0, 0, 0.5, 0.5]);
    expect(takes('b', 1)).to.deep.equal([0]);
    now = 500;
    expect([buckets.wait('a'), ...takes('a', 2)]).to.deep.equal([0, 0, 0.5]);
    now = 1_000_000;
    expect(takes('a', 4)).to.deep.equal([0, 0, 0, 0.5]);
  });

  it('never let more through than they say, whenever it is asked for', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 900 }), fc.constantFrom('a', 'b')), { maxLength: 300 }),
        (asked) => {
          let now = 0;
          const buckets = new Buckets({ perSecond: 5, atOnce: 7 }, { now: () => now });
          const taken: Record<string, number> = { a: 0, b: 0 };
          for (const [pause, name] of asked) {
            now += pause;
            if (buckets.take(name) === 0) taken[name] = (taken[name] ?? 0) + 1;
          }
          for (const count of Object.values(taken)) expect(count).to.be.at.most(7 + (now / 1000) * 5 + 1e-6);
        },
      ),
    );
  });

  it('remember no more names than they may, and forget who was heard of longest ago', () => {
    const buckets = new Buckets({ perSecond: 0.001, atOnce: 1 }, { now: () => 0, most: 100 });
    for (let i = 0; i < 100; i++) buckets.take(`name ${i}`);
    buckets.take('name 0');
    for (let i = 100; i < 150; i++) buckets.take(`name ${i}`);
    expect(buckets.size).to.equal(100);
    expect(buckets.take('name 0')).to.be.greaterThan(0);
    expect(buckets.take('name 1'), 'forgotten').to.equal(0);
  });

  it('of zero a second are none', () => {
    const buckets = new Buckets({ perSecond: 0, atOnce: 0 });
    for (let i = 0; i < 1000; i++) expect(buckets.take('a')).to.equal(0);
    expect(buckets.size).to.equal(0);
  });
});

describe('the address of a client', () => {
  const of = (
    remoteAddress: string,
    forwarded?: string,
    proxies = ['127.0.0.1', '::1', '10.0.0.0/8'],
  ): string =>
    clientAddresses(proxies)({
      socket: { remoteAddress } as never,
      headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    });

  it("is the connection's", () => {
    expect(of('203.0.113.7')).to.equal('203.0.113.7');
    expect(of('::ffff:203.0.113.7')).to.equal('203.0.113.7');
    expect(of('127.0.0.1')).to.equal('127.0.0.1');
    expect(of('')).to.equal('unknown');
  });

  it('is what a proxy of ours says, and never what the client has written before that', () => {
    expect(of('127.0.0.1', '203.0.113.7')).to.equal('203.0.113.7');
    expect(of('127.0.0.1', '198.51.100.1, 203.0.113.7, 10.1.2.3')).to.equal('203.0.113.7');
    expect(of('203.0.113.7', '198.51.100.1')).to.equal('203.0.113.7');
    expect(of('127.0.0.1', '198.51.100.1', [])).to.equal('127.0.0.1');
    expect(of('127.0.0.1', 'nonsense, unknown')).to.equal('127.0.0.1');
    expect(of('::1', '203.0.113.7')).to.equal('203.0.113.7');
  });

  it('is the network of 64 bits of an IPv6 address, as one client has all of it', () => {
    expect(of('2001:db8:0:1::1')).to.equal(of('2001:db8:0:1:ffff::2'));
    expect(of('2001:db8:0:1::1')).to.not.equal(of('2001:db8:0:2::1'));
    expect(of('::1', '[2001:db8:0:1::1]:443')).to.equal(of('2001:db8:0:1::1'));
  });
});

describe('the limits of requests', () => {
  it('are refused with the time after which there is one more', () => {
    let now = 0;
    const limits = new RequestLimits({ perKey: 1, perAddress: 2, proxies: [], now: () => now });
    const refusal = (work: () => void): [string, number | undefined] | undefined => {
      try {
        work();
        return undefined;
      } catch (error) {
        return error instanceof ApiError ? [error.code, error.retryAfter] : [String(error), undefined];
      }
    };
    for (let i = 0; i < 10; i++) expect(refusal(() => limits.key('app_1'))).to.equal(undefined);
    expect(refusal(() => limits.key('app_1'))).to.deep.equal(['rate_limited', 1]);
    expect(refusal(() => limits.key('app_2'))).to.equal(undefined);
    for (let i = 0; i < 20; i++) expect(refusal(() => limits.address('203.0.113.7'))).to.equal(undefined);
    expect(refusal(() => limits.address('203.0.113.7'))).to.deep.equal(['rate_limited', 0.5]);
    now = 1000;
    expect(refusal(() => limits.key('app_1'))).to.equal(undefined);
  });
});
