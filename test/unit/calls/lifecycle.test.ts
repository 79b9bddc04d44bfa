import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { AFTER_ANSWER, AFTER_END, Lifecycle } from '../../../control/calls/lifecycle.ts';
import { until } from '../flow/flow-rig.ts';

describe('what follows an answer and an end of a call', () => {
  const call = { id: 'call_1' } as Call;
  let lines: { msg: string; step: string; call: string; after: string; err: { message: string } }[];
  let lifecycle: Lifecycle;
  let ran: string[];

  beforeEach(() => {
    lines = [];
    ran = [];
    const write = (line: string): void => void lines.push(JSON.parse(line) as (typeof lines)[number]);
    lifecycle = new Lifecycle(pino({}, { write }));
  });

  /** Takes every step that is left, in the given order. */
  function takeRest(steps: readonly (typeof AFTER_END)[number][] = AFTER_END): void {
    for (const step of steps)
      if (lifecycle.missing.some((missing) => missing.endsWith(`end: ${step}`)))
        lifecycle.afterEnd(step, () => ran.push(step));
  }

  it('happens in the order of the list, whatever the order in which the steps were taken', () => {
    takeRest([...AFTER_END].reverse());
    lifecycle.ended(call);
    expect(ran).to.deep.equal([...AFTER_END]);
  });

  it('begins with the money, after an answer as after an end', () => {
    expect([AFTER_ANSWER[0], AFTER_END[0]]).to.deep.equal(['money', 'money']);
  });

  it('is told the call, and when it was answered', () => {
    const at = new Date(1000);
    const told: unknown[] = [];
    lifecycle.afterAnswer('money', (...given) => told.push(given));
    lifecycle.answered(call, at);
    expect(told).to.deep.equal([[call, at]]);
  });

  it('goes on behind a step that throws, which is logged with its name and the call', () => {
    lifecycle.afterEnd('money', () => {
      throw new Error('no ledger');
    });
    takeRest();
    lifecycle.ended(call);
    expect(ran).to.deep.equal(AFTER_END.slice(1));
    expect(lines.map(({ step, call: id, after, err }) => [step, id, after, err.message])).to.deep.equal([
      ['money', 'call_1', 'end', 'no ledger'],
    ]);
  });

  it('goes on behind a step that fails later, which is logged as well', async () => {
    lifecycle.afterEnd('streams', () => Promise.reject(new Error('no Redis')));
    takeRest();
    lifecycle.ended(call);
    expect(ran).to.deep.equal(AFTER_END.filter((step) => step !== 'streams'));
    await until(() => lines.length === 1);
    expect(lines[0]).to.deep.include({ step: 'streams', call: 'call_1' });
  });

  it('has no step twice: the second owner is refused', () => {
    lifecycle.afterAnswer('money', () => undefined);
    lifecycle.afterEnd('money', () => undefined);
    expect(() => lifecycle.afterEnd('money', () => undefined)).to.throw('"money"');
    expect(() => lifecycle.afterAnswer('money', () => undefined)).to.throw('"money"');
    expect(new Set(AFTER_END).size).to.equal(AFTER_END.length);
  });

  it('names the steps that nobody has taken', () => {
    takeRest();
    expect(lifecycle.missing).to.deep.equal(['after an answer: money']);
    lifecycle.afterAnswer('money', () => undefined);
    expect(lifecycle.missing).to.deep.equal([]);
  });
});
