import { expect } from 'chai';
import { inOrder, type Voice } from '../../../cli/testing/in-order.ts';

describe('what goes on side by side', () => {
  let shown: string;
  let first: Voice;
  let second: Voice;
  let third: Voice;
  beforeEach(() => {
    shown = '';
    [first, second, third] = inOrder(3, (text) => (shown += text)) as [Voice, Voice, Voice];
  });

  it('is shown one after the other: the first at once, the next when it has ended', () => {
    second.say('b1 ');
    first.say('a1 ');
    expect(shown).to.equal('a1 ');
    third.say('c1 ');
    first.say('a2 ');
    first.end();
    expect(shown).to.equal('a1 a2 b1 ');
    second.say('b2 ');
    expect(shown).to.equal('a1 a2 b1 b2 ');
    second.end();
    third.say('c2 ');
    third.end();
    expect(shown).to.equal('a1 a2 b1 b2 c1 c2 ');
  });

  it('is kept when it ends before its turn', () => {
    third.say('c');
    third.end();
    second.say('b');
    second.end();
    expect(shown).to.equal('');
    first.say('a');
    first.end();
    expect(shown).to.equal('abc');
  });
});
