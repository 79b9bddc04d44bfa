import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls } from '../../../control/calls/calls.ts';
import { Dialogs } from '../../../control/edge/dialogs.ts';
import { RpcRefusal, type KamailioRpc } from '../../../control/edge/kamailio-rpc.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { NODE_LOST } from '../../../control/media/media.ts';
import { Watched } from '../../support/wait.ts';

/** A Kamailio with these dialogs, that keeps what it was asked for. */
class FakeKamailio extends Watched {
  readonly asked: string[] = [];
  readonly url: string;
  dialogs: unknown[] = [];
  /** So many requests do not reach it. */
  away = 0;

  constructor(url: string) {
    super();
    this.url = url;
  }

  readonly rpc = {
    call: (method: string, params: unknown[] = []): Promise<unknown> => {
      this.asked.push([method, ...params].join(' '));
      this.changed();
      if (this.away-- > 0) return Promise.reject(new Error('ECONNREFUSED'));
      if (method === 'dlg.list') return Promise.resolve(this.dialogs);
      const known = this.dialogs.some((dialog) => (dialog as { 'call-id': string })['call-id'] === params[0]);
      return known ? Promise.resolve('Ok') : Promise.reject(new RpcRefusal(method, 404, 'not found'));
    },
  } as unknown as KamailioRpc;
}

/** As `dlg.list` shows it; 1 and 2 are states before the answer. */
const dialog = (sipCallId: string, call: string, state: number): unknown => ({
  'call-id': sipCallId, state, caller: { tag: 'f', cseq: '7' }, callee: { tag: state > 2 ? 't' : null }, variables: [{ kind: 'leg' }, { call }],
});

describe('the dialogs Kamailio holds', () => {
  let calls: Calls;
  let first: FakeKamailio;
  let second: FakeKamailio;

  beforeEach(() => {
    calls = new Calls({ ids: new Ids(1), journal: { accepting: true, append: () => undefined, onCommit: () => undefined } as never, hasWebhook: () => false });
    [first, second] = [new FakeKamailio('first'), new FakeKamailio('second')];
    new Dialogs({ rpcs: [first.rpc, second.rpc], calls, logger: pino({ enabled: false }) });
  });

  const create = (): Call => calls.createInbound({ customerId: 'cust_1', applicationId: 'app_1', from: '+1555', to: '+1556', routeMode: 'webhook', routingTarget: 'app_1', answerUrl: undefined });
  const end = (call: Call, cause: string): void => calls.end(call, { hangup: { by: 'platform', cause }, failure: { code: 'media_unavailable', message: 'lost' } });
  const ended = ({ asked }: FakeKamailio): string[] => asked.filter((one) => one !== 'dlg.list');

  it('of calls whose media node has died are ended wherever they are: what is answered by BYE, what rings by CANCEL, no others', async () => {
    const [one, other, alive] = [create(), create(), create()];
    first.dialogs = [dialog('answered', one.id, 4), dialog('second-leg', one.id, 2), dialog('of-another', alive.id, 4)];
    second.dialogs = [dialog('elsewhere', other.id, 3)];
    for (const call of [one, other]) end(call, NODE_LOST);
    await second.until(() => ended(second).includes('dlg.terminate_dlg elsewhere f t') || undefined, 'the last of them');
    expect(ended(first)).to.include.members(['dlg.terminate_dlg answered f t', 'tm.cancel second-leg 7']);
    expect(first.asked.concat(second.asked).filter((one) => one.includes('of-another'))).to.be.empty;
    expect(first.asked.filter((one) => one === 'dlg.list'), 'asked once for all of them').to.have.length(1);
  });

  it('are left alone when a call ends as calls do', async () => {
    const [usual, lost] = [create(), create()];
    first.dialogs = [dialog('usual', usual.id, 4), dialog('lost', lost.id, 4)];
    end(usual, 'NORMAL_CLEARING');
    end(lost, NODE_LOST);
    await first.until(() => ended(first)[0], 'the end of one');
    expect(ended(first)).to.deep.equal(['dlg.terminate_dlg lost f t']);
  });

  it('are asked for again when Kamailio cannot be reached', async () => {
    const call = create();
    second.dialogs = [dialog('late', call.id, 4)];
    second.away = 1;
    end(call, NODE_LOST);
    await second.until(() => ended(second)[0], 'the second try');
    expect(second.asked.slice(0, 3)).to.deep.equal(['dlg.list', 'dlg.list', 'dlg.terminate_dlg late f t']);
  });
});
