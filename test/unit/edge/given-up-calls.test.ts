import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import { GivenUpCalls } from '../../../control/edge/given-up-calls.ts';
import { NODE_LOST } from '../../../control/media/media.ts';

describe('calls that were given up while their media node was out of reach', () => {
  let told: string[];
  let failures: number;
  let lifecycle: Lifecycle;
  const ended = (call: Pick<Call, 'id' | 'hangup'>): void => lifecycle.ended(call as Call);
  let calls: GivenUpCalls;

  beforeEach(() => {
    [told, failures] = [[], 0];
    lifecycle = new Lifecycle(pino({ enabled: false }));
    const rpc = (url: string) => ({
      url,
      call: (method: string, params: (string | number)[] = []) =>
        failures-- > 0
          ? Promise.reject(new Error('away'))
          : Promise.resolve(void told.push([url, method, ...params].join(' '))),
    });
    calls = new GivenUpCalls({
      rpcs: [rpc('a'), rpc('b')],
      calls: { lifecycle },
      logger: pino({ enabled: false }),
    });
  });

  it('are told to every Kamailio', async () => {
    await calls.add('call_1');
    expect(told).to.deep.equal(['a htable.sets given_up call_1 1', 'b htable.sets given_up call_1 1']);
  });

  it('are those that end with their node, and no others', () => {
    ended({ id: 'call_1', hangup: { by: 'platform', cause: NODE_LOST } });
    ended({ id: 'call_2', hangup: { by: 'caller', cause: 'NORMAL_CLEARING' } });
    expect(told).to.deep.equal(['a htable.sets given_up call_1 1', 'b htable.sets given_up call_1 1']);
  });

  it('are told again to a Kamailio that is away, and nobody waits for that', async () => {
    failures = 2;
    await calls.add('call_1');
    while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(told).to.have.members(['a htable.sets given_up call_1 1', 'b htable.sets given_up call_1 1']);
  });
});
