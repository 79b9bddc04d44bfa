import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import { Tries } from '../../../control/edge/tries.ts';

describe('tries of a call, as Kamailio tells of them', () => {
  const call = { id: 'call_1' } as Call;
  let noted: [kind: string, detail: Record<string, unknown> | undefined][];
  let tries: Tries;

  beforeEach(() => {
    noted = [];
    const calls = {
      note: (_call: Call, kind: string, detail?: Record<string, unknown>) => void noted.push([kind, detail]),
      lifecycle: new Lifecycle(pino({ enabled: false })),
    };
    tries = new Tries({
      calls,
      trunkOf: (id) => (id === 'trunk_1' ? { gatewayName: 'digest1' } : undefined),
      patienceMs: 50,
    });
  });

  it('each is a line that says which trunk, what it answered and what that means', async () => {
    await tries.note(call, {
      tries: 'credentials;403;Forbidden;trunk_1|silent;;;trunk_gone|5xx;503;Full;trunk_1|full;;;trunk_1|',
      last: 0,
    });
    expect(noted).to.deep.equal([
      [
        'trunk.tried',
        {
          trunk_id: 'trunk_1',
          gateway_name: 'digest1',
          class: 'credentials',
          sip_code: 403,
          phrase: 'Forbidden',
          message: 'digest1 refused our credentials',
        },
      ],
      [
        'trunk.tried',
        { trunk_id: 'trunk_gone', class: 'silent', message: 'trunk_gone did not answer at all' },
      ],
      [
        'trunk.tried',
        {
          trunk_id: 'trunk_1',
          gateway_name: 'digest1',
          class: '5xx',
          sip_code: 503,
          phrase: 'Full',
          message: 'digest1 answered 503 Full',
        },
      ],
      [
        'trunk.tried',
        { trunk_id: 'trunk_1', gateway_name: 'digest1', class: 'full', message: 'digest1 has no place left' },
      ],
    ]);
  });

  it('a SIP URI of a number may hold semicolons', async () => {
    await tries.note(call, { tries: '5xx;500;;sip:a@b;transport=tcp|', last: 0 });
    expect(noted).to.deep.equal([
      [
        'target.tried',
        {
          uri: 'sip:a@b;transport=tcp',
          class: '5xx',
          sip_code: 500,
          phrase: '',
          message: 'sip:a@b;transport=tcp answered 500',
        },
      ],
    ]);
  });

  it('whoever ends a call waits for its last try, told of before or after, and not for ever', async () => {
    let settled = false;
    const waiting = tries.settled(call).then(() => (settled = true));
    await tries.note(call, { tries: '5xx;500;;trunk_1|', last: 0 });
    await Promise.resolve();
    expect(settled).to.equal(false);
    await tries.note(call, { tries: '5xx;500;;trunk_1|', last: 1 });
    await waiting;
    await tries.note(call, { tries: '5xx;500;;trunk_1|', last: 1 });
    await tries.settled(call);
    await tries.settled({ id: 'call_2' });
  });
});
