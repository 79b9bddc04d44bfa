import { expect } from 'chai';
import fc from 'fast-check';
import { Slots, type Slot } from '../../../control/webhooks/slots.ts';

describe('webhook slots', () => {
  const fail = (slots: Slots, endpoint: string): void => {
    for (let i = 0; i < 6; i++) for (const slot of slots.take(endpoint, 0)) slots.give(slot, { hung: true });
  };
  const answer = (slots: Slots, taken: Slot[]): void =>
    taken.forEach((slot) => slots.give(slot, { hung: false }));

  it('an endpoint that answers gets more at a time, one that hangs gets down to one', () => {
    const slots = new Slots(100, 12);
    const [kept, ...answered] = slots.take('a', 0);
    expect(answered).to.have.length(7);
    answer(slots, answered);
    expect(slots.take('a', 0)).to.have.length(11);
    expect(slots.take('a', 0)).to.have.length(0);
    expect(kept?.endpoint).to.equal('a');
    fail(slots, 'b');
    expect(slots.take('b', 0)).to.have.length(1);
  });

  it('an endpoint recovers from hanging with its first answer', () => {
    const slots = new Slots(100, 12);
    fail(slots, 'a');
    answer(slots, slots.take('a', 0));
    expect(slots.take('a', 0)).to.have.length(2);
  });

  it('an endpoint with another address starts anew, whatever was learnt of the old one, then or later', () => {
    const slots = new Slots(100, 12);
    fail(slots, 'a');
    const [old, ...others] = slots.take('a', 0, 'https://old.example/');
    for (const slot of others)
      slots.give(slot, { hung: true, url: 'https://old.example/', pausedUntil: 60_000 });
    expect(slots.take('a', 1, 'https://old.example/')).to.have.length(0);
    const fresh = slots.take('a', 1, 'https://new.example/');
    expect(fresh.length).to.be.greaterThan(1);
    if (old) slots.give(old, { hung: true, url: 'https://old.example/', pausedUntil: 60_000 });
    for (const slot of fresh) slots.give(slot, { hung: false, url: 'https://new.example/' });
    expect(slots.take('a', 2, 'https://new.example/').length).to.be.greaterThan(8);
  });

  it('an endpoint with nothing in flight can be forgotten, one that asked to be left alone only after that', () => {
    const slots = new Slots(100, 12);
    const [busy, ...rest] = [...slots.take('a', 0), ...slots.take('b', 0), ...slots.take('c', 0)];
    for (const slot of rest) slots.give(slot, { hung: false, pausedUntil: slot.endpoint === 'b' ? 5000 : 0 });
    slots.forgetIdle(0);
    expect([slots.known, busy?.endpoint]).to.deep.equal([2, 'a']);
    slots.forgetIdle(5000);
    expect(slots.known).to.equal(1);
  });

  it('an endpoint never heard of that does not answer within the limit gets no more', () => {
    const slots = new Slots(100, 12);
    const [first] = slots.take('a', 0);
    if (first) slots.takesLong(first);
    expect(slots.take('a', 0)).to.have.length(0);
  });

  it('an endpoint that answers, only slowly, keeps its share', () => {
    const slots = new Slots(100, 12);
    const [first, ...rest] = slots.take('a', 0);
    answer(slots, rest);
    if (first) slots.takesLong(first);
    expect(slots.take('a', 0)).to.have.length(11);
  });

  it('however many endpoints hang, a healthy one finds a slot', () => {
    const slots = new Slots(40, 8);
    for (let i = 0; i < 500; i++) fail(slots, `dead ${i}`);
    const held = Array.from({ length: 500 }, (_, i) => slots.take(`dead ${i}`, 0)).flat();
    expect(held).to.have.length(80);
    expect(slots.take('healthy', 0)).to.have.length(8);
  });

  it('endpoints never heard of that hang make room after a while', () => {
    const slots = new Slots(40, 8);
    const held = Array.from({ length: 60 }, (_, i) => slots.take(`new ${i}`, 0)).flat();
    expect(slots.take('healthy', 0)).to.have.length(0);
    for (const slot of held) slots.takesLong(slot);
    expect(slots.take('healthy', 0)).to.have.length(8);
  });

  it('busy endpoints leave a quarter to those with nothing in flight', () => {
    const slots = new Slots(40, 32);
    for (let i = 0; i < 8; i++) slots.take(`busy ${i % 4}`, 0);
    expect(slots.running).to.equal(30);
    expect(slots.take('quiet', 0)).to.have.length(1);
    expect(slots.take('quiet', 0)).to.have.length(0);
  });

  it('an endpoint that asked to be left alone is, until then', () => {
    const slots = new Slots(10, 5);
    const [slot, ...unused] = slots.take('a', 1000);
    for (const one of unused) slots.give(one);
    if (slot) slots.give(slot, { hung: false, pausedUntil: 5000 });
    expect([slots.take('a', 4999).length, slots.nextUnpause(1000), slots.nextUnpause(5000)]).to.deep.equal([
      0,
      5000,
      undefined,
    ]);
    expect(slots.take('a', 5000)).to.not.have.length(0);
  });

  it('by no order of events is a bound exceeded or a slot lost', () => {
    const step = fc.record({
      endpoint: fc.constantFrom('a', 'b', 'c', 'd'),
      what: fc.constantFrom('take', 'give', 'give', 'unused', 'long', 'forget'),
      hung: fc.boolean(),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 16 }),
        (steps, lane, perEndpoint) => {
          const slots = new Slots(lane, perEndpoint);
          const held: Slot[] = [];
          for (const { endpoint, what, hung, pick } of steps) {
            const at = pick % Math.max(held.length, 1);
            const slot = held[at];
            if (what === 'take') held.push(...slots.take(endpoint, 0));
            else if (what === 'forget') slots.forgetIdle(0);
            else if (slot && what === 'long') slots.takesLong(slot);
            else if (slot) {
              held.splice(at, 1);
              slots.give(slot, what === 'unused' ? undefined : { hung });
            }
            const slow = held.filter((one) => one.slow).length;
            if (slots.running !== held.length || slow > 2 * lane || held.length - slow > lane) return false;
            if (
              ['a', 'b', 'c', 'd'].some(
                (name) => held.filter((one) => one.endpoint === name).length > perEndpoint,
              )
            )
              return false;
          }
          for (const slot of held) slots.give(slot);
          slots.forgetIdle(0);
          // With nothing in flight and nothing remembered everybody is served again.
          return slots.running === 0 && slots.known === 0 && slots.take('a', 0).length > 0;
        },
      ),
      { numRuns: 500 },
    );
  });
});
