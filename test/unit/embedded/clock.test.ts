import { expect } from 'chai';
import { FrameClock, type TimeSource } from '../../../freeswitch/embedded/rtp/clock.ts';
import { PortRange } from '../../../freeswitch/embedded/rtp/ports.ts';
import { LoadFigures } from '../../../freeswitch/embedded/load.ts';

/** Time that stands still until a test moves it on. */
class HandTime implements TimeSource {
  at = 0;
  #due = 0;
  #run: () => void = () => {};

  now(): number {
    return this.at;
  }

  after(ms: number, run: () => void): NodeJS.Timeout {
    this.#due = this.at + ms;
    this.#run = run;
    return setTimeout(() => {}, 0);
  }

  /** The timer fires, this much late. */
  wake(lateMs: number): void {
    this.at = this.#due + lateMs;
    this.#run();
  }
}

describe('embedded: the frame clock', () => {
  it('makes up for a short delay, so that lateness does not add up', () => {
    const time = new HandTime();
    const clock = new FrameClock(() => {}, time);
    let ticks = 0;
    let skips = 0;
    clock.add({
      tick: (skipped) => {
        ticks++;
        skips += skipped;
      },
    });
    // Every wake-up is late, by up to three frames: what was due by then has been sent all the same.
    for (let i = 0; i < 100; i++) {
      time.wake([0, 3, 19, 21, 60][i % 5] ?? 0);
      expect(ticks).to.equal(Math.floor(time.at / 20));
    }
    expect(skips).to.equal(0);
    expect(clock.frame).to.equal(ticks);
  });

  it('does not run ahead when the timer fires a shade early', () => {
    const time = new HandTime();
    const clock = new FrameClock(() => {}, time);
    let ticks = 0;
    clock.add({ tick: () => ticks++ });
    for (let i = 0; i < 50; i++) time.wake(-0.4);
    expect(ticks).to.equal(50);
    expect(time.at).to.be.closeTo(1000, 1);
  });

  it('skips what a long stall has cost', () => {
    const time = new HandTime();
    const clock = new FrameClock(() => {}, time);
    const missed: number[] = [];
    clock.add({ tick: (skipped) => missed.push(skipped) });
    // The first wake-up comes when 50 frames have passed.
    time.wake(980);
    expect(missed).to.deep.equal([45, 0, 0, 0, 0]);
    expect(clock.frame).to.equal(50);
  });

  it('goes on when one channel fails', async () => {
    const errors: unknown[] = [];
    const clock = new FrameClock((error) => errors.push(error));
    const bad = {
      tick: () => {
        throw new Error('bad');
      },
    };
    let ticks = 0;
    await new Promise<void>((resolve) => {
      const good = {
        tick: () => {
          if (++ticks === 3) {
            clock.remove(bad);
            clock.remove(good);
            resolve();
          }
        },
      };
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
    expect([ports.take(), ports.take(), ports.take(), ports.take()]).to.deep.equal([
      30_002,
      30_004,
      30_006,
      undefined,
    ]);
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
