import { expect } from 'chai';
import { judge } from '../../../control/webhooks/schedule.ts';

describe('webhook schedule', () => {
  const finishedAt = new Date('2026-05-29T12:00:00Z');
  const waitSeconds = (
    attempt: number,
    status?: number,
    retryAfter?: string,
    random = 0,
  ): number | string => {
    const verdict = judge({ attempt, status, retryAfter, finishedAt }, random);
    return verdict.status === 'pending'
      ? (verdict.nextAttemptAt.getTime() - finishedAt.getTime()) / 1000
      : verdict.status;
  };

  it('2xx is delivered and nothing else is', () => {
    for (const status of [200, 201, 202, 204, 299])
      expect(waitSeconds(1, status), String(status)).to.equal('delivered');
    for (const status of [100, 199, 300, 301, 304, 400, 404, 429, 500, 503, undefined])
      expect(waitSeconds(1, status), String(status)).to.equal(5);
  });

  it('retries come after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, and then never', () => {
    const waits = Array.from({ length: 10 }, (_, i) => waitSeconds(i + 1, 500));
    expect(waits).to.deep.equal([
      5,
      5 * 60,
      30 * 60,
      2 * 3600,
      5 * 3600,
      10 * 3600,
      14 * 3600,
      20 * 3600,
      24 * 3600,
      'exhausted',
    ]);
  });

  it('a wait is drawn out by up to a tenth, never shortened', () => {
    expect([waitSeconds(2, 500, undefined, 0.5), waitSeconds(2, 500, undefined, 1)]).to.deep.equal([
      315, 330,
    ]);
  });

  it('410 disables, at any attempt', () => {
    expect([waitSeconds(1, 410), waitSeconds(10, 410)]).to.deep.equal(['disabled', 'disabled']);
  });

  it('429 and 503 are left alone for as long as they ask, in seconds or until a date, but not for more than a day', () => {
    expect(waitSeconds(1, 429, '120')).to.equal(120);
    expect(waitSeconds(1, 503, 'Fri, 29 May 2026 12:10:00 GMT')).to.equal(600);
    expect(waitSeconds(1, 503, '31536000')).to.equal(86_400);
  });

  it('a Retry-After never makes a retry come sooner, and means nothing with another status or in another form', () => {
    expect(waitSeconds(3, 429, '1')).to.equal(1800);
    expect(waitSeconds(1, 503, 'Fri, 29 May 2020 12:10:00 GMT')).to.equal(5);
    for (const value of ['soon', '-100', '', '1e3', 'NaN'])
      expect(waitSeconds(1, 429, value), value).to.equal(5);
    expect([waitSeconds(1, 500, '120'), waitSeconds(1, 200, '120')]).to.deep.equal([5, 'delivered']);
  });

  it('the last attempt is the last, whatever it asks', () => {
    expect(waitSeconds(10, 503, '60')).to.equal('exhausted');
  });
});
