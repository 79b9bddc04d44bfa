import { expect } from 'chai';
import { FrameClock } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import { LoadFigures } from '../../../freeswitch/embedded/load.ts';

describe('embedded: the frame clock', () => {
  it('makes up for a short delay, so that lateness does not add up', async () => {
    const clock = new FrameClock(() => {});
    const began = performance.now();
    let due = 0;
    let frames = 0;
    await new Promise<void>((resolve) => {
      const ticker = {
        tick: (missed: number): void => {
          frames += 1 + missed;
          // Everything is held up again and again, by three frames each time: nine are lost if nobody makes up for them.
          if (frames % 10 === 5) for (const end = performance.now() + 60; performance.now() < end;);
          if (frames < 30) return;
          clock.remove(ticker);
          due = (performance.now() - began) / 20;
          resolve();
        },
      };
      clock.add(ticker);
    });
    expect(frames).to.be.within(Math.floor(due) - 4, Math.ceil(due) + 1);
  });

  it('skips what a long stall has cost', () => {
    let now = 0;
    const clock = new FrameClock(() => {}, () => now);
    const missed: number[] = [];
    const ticker = { tick: (skipped: number) => missed.push(skipped) };
    return new Promise<void>((resolve) => {
      clock.add(ticker);
      // The first wake-up comes when 50 frames have passed.
      now = 1000;
      setTimeout(() => {
        clock.remove(ticker);
        expect(missed.slice(0, 5)).to.deep.equal([45, 0, 0, 0, 0]);
        resolve();
      }, 40);
    });
  });

  it('goes on when one channel fails', async () => {
    const errors: unknown[] = [];
    const clock = new FrameClock((error) => errors.push(error));
    const bad = { tick: () => { throw new Error('bad'); } };
    let ticks = 0;
    await new Promise<void>((resolve) => {
      const good = { tick: () => { if (++ticks === 3) { clock.remove(bad); clock.remove(good); resolve(); } } };
      clock.add(bad);
      clock.add(good);
    });
    expect(errors.length).to.be.at.least(3);
    expect(clock.size).to.equal(0);
  });
});

describe('embedded: RTP ports', () => {
  it('are even, in turn, and taken once', () => {
    const ports = new PortRange(30_001, 30_007);
    expect([ports.take(), ports.take(), ports.take(), ports.take()]).to.deep.equal([30_002, 30_004, 30_006, undefined]);
    ports.release(30_004);
    expect(ports.take()).to.equal(30_004);
  });
});

describe('embedded: load figures', () => {
  it('remember peaks for five minutes', () => {
    let now = 1_000_000;
    const load = new LoadFigures(() => now);
    for (const atOnce of [1, 2, 3]) load.started(atOnce);
    expect(load.peakPerSecond).to.equal(3);
    now += 1000;
    load.started(2);
    expect([load.perSecond, load.lastSecond]).to.deep.equal([1, 3]);
    now += 301_000;
    expect([load.peakFiveMinutes, load.peakPerSecondFiveMinutes]).to.deep.equal([0, 0]);
    expect([load.peak, load.sinceStartup]).to.deep.equal([3, 4]);
  });
});
