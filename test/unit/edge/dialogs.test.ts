import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Calls, type CallEnding } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { FarEnd } from '../../../control/lib/far-end.ts';
import { CallEnder } from '../../../control/edge/call-ender.ts';
import type { Rpc } from '../../../control/edge/dialog.ts';
import { Dialogs } from '../../../control/edge/dialogs.ts';
import { RpcRefusal } from '../../../control/edge/kamailio-rpc.ts';
import { RelayedEnds } from '../../../control/edge/relayed-ends.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { NODE_LOST } from '../../../control/media/media.ts';

interface Listed {
  id: number;
  sipCallId: string;
  state: number;
  startedAt?: number;
  number?: string;
}

/** A Kamailio with these dialogs, by call, that keeps what it was asked for. */
class FakeKamailio {
  readonly asked: string[] = [];
  dialogs = new Map<string, Listed[]>();
  /** Seconds since its start. */
  uptime = 100_000;
  /** So many requests do not reach it. */
  away = 0;
  /** What far ends answer a BYE of its own with. */
  byeCode = 200;

  readonly rpc: Rpc = { url: 'http://kamailio', call: (method, params = []) => this.#call(method, params) };

  /** What it was asked to do, and not just to tell. */
  get done(): string[] {
    return this.asked.filter((one) => /^(dlg\.end_dlg|tm\.)/.test(one));
  }

  /** It has restarted. */
  forget(): void {
    this.dialogs.clear();
    this.uptime = 0;
  }

  #call(method: string, params: readonly (string | number)[]): Promise<unknown> {
    if (this.away-- > 0) return Promise.reject(new Error('ECONNREFUSED'));
    this.asked.push([method, ...params].join(' '));
    const all = [...this.dialogs.values()].flat();
    if (method === 'core.uptime') return Promise.resolve({ uptime: this.uptime });
    if (method === 'core.sockets_list')
      return Promise.resolve([{ socket: { proto: 'udp', ipaddress: '192.0.2.1', port: '5060' } }]);
    if (method === 'tm.t_uac_wait') return Promise.resolve([this.byeCode, 'Said']);
    if (method === 'dlg.profile_list') {
      return Promise.resolve(
        (this.dialogs.get(String(params[1])) ?? []).map(({ id, sipCallId, state, startedAt, number }) => ({
          h_entry: 7,
          h_id: id,
          'call-id': sipCallId,
          state,
          start_ts: startedAt ?? 0,
          caller: { tag: 'f' },
          callee: { tag: state > 2 ? 't' : null },
          variables: [
            { kind: 'sip' },
            { transaction: `${id}:9` },
            { rtp_id: `rtp-${id}` },
            ...(number === undefined ? [] : [{ number }]),
          ],
        })),
      );
    }
    const meant =
      method === 'dlg.end_dlg'
        ? Number(params[1])
        : method === 'tm.reply'
          ? Number(String(params[2]).split(':')[0])
          : undefined;
    const dialog = all.find(({ id }) => id === meant);
    if (meant !== undefined && (!dialog || (method === 'tm.reply') !== dialog.state < 3))
      return Promise.reject(new RpcRefusal(method, 404, 'not found'));
    if (dialog) dialog.state = 5;
    return Promise.resolve({});
  }
}

const ENDING: CallEnding = {
  hangup: { by: 'platform', cause: 'NORMAL_CLEARING' },
  failure: { code: 'insufficient_balance', message: 'spent' },
};
const farEnd = (sipCallId: string, contact = 'sip:mv.token@198.51.100.1:5060'): FarEnd => ({
  sipCallId,
  fromTag: 'f',
  toTag: 't',
  contact,
  routes: '',
});

async function until(look: () => unknown, what: string): Promise<void> {
  for (
    const deadline = Date.now() + 10_000;
    !look();
    await new Promise((resolve) => setTimeout(resolve, 5))
  ) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
  }
}

describe('the dialogs Kamailio holds', () => {
  let calls: Calls;
  let first: FakeKamailio;
  let second: FakeKamailio;
  let audio: boolean | undefined;
  let forgotten: string[];
  let ender: CallEnder;
  let dialogs: Dialogs;
  let ends: RelayedEnds;
  let now: number;

  beforeEach(() => {
    now = Date.now();
    calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(1),
      journal: { accepting: true, append: () => undefined, onCommit: () => undefined } as never,
      hasWebhook: () => false,
      now: () => new Date(now),
    });
    [first, second] = [new FakeKamailio(), new FakeKamailio()];
    audio = undefined;
    forgotten = [];
    const options = {
      calls,
      rpcs: [first.rpc, second.rpc],
      logger: pino({ enabled: false }),
      now: () => new Date(now),
      audio: {
        knows: () => Promise.resolve(audio),
        forget: (id: string) => Promise.resolve(void forgotten.push(id)),
      },
    };
    ender = new CallEnder(options);
    dialogs = new Dialogs({ ...options, ender, isPaid: (number) => number === '+1777' });
    ends = new RelayedEnds({ calls, ender });
  });
  afterEach(() => {
    dialogs.stop();
    ends.stop();
  });

  const create = (routeMode: 'webhook' | 'sip' = 'webhook'): Call =>
    calls.createInbound({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+1555',
      to: '+1556',
      routeMode,
      routingTarget: 'app_1',
      sipCallId: 'shared',
    });
  const relayed = (): Call => {
    const call = create('sip');
    calls.answered(call);
    return call;
  };
  const lose = (call: Call, cause = NODE_LOST): void =>
    calls.end(call, {
      hangup: { by: 'platform', cause },
      failure: { code: 'media_unavailable', message: 'lost' },
    });

  describe('of calls whose media node has died', () => {
    it('are ended wherever they are: what is answered by BYE, what rings by CANCEL, no others', async () => {
      const [one, other, alive] = [create(), create(), create()];
      first.dialogs.set(one.id, [
        { id: 1, sipCallId: 'a', state: 4 },
        { id: 2, sipCallId: 'leg', state: 2 },
      ]);
      first.dialogs.set(alive.id, [{ id: 3, sipCallId: 'c', state: 4 }]);
      second.dialogs.set(other.id, [{ id: 4, sipCallId: 'd', state: 3 }]);
      for (const call of [one, other]) lose(call);
      await until(() => second.done[0], 'the last of them');
      await until(() => first.done.length > 1, 'the others');
      expect(first.done).to.include('dlg.end_dlg 7 1');
      expect(first.done.find((done) => done.startsWith('tm.reply 487 Request Terminated 2:9'))).to.not.equal(
        undefined,
      );
      expect(forgotten, 'audio that was offered').to.deep.equal(['rtp-2']);
      expect(first.done.concat(second.done).filter((done) => done.endsWith(' 3'))).to.be.empty;
    });

    it('are left alone when a call ends as calls do', async () => {
      const [usual, lost] = [create(), create()];
      first.dialogs.set(usual.id, [{ id: 1, sipCallId: 'a', state: 4 }]);
      first.dialogs.set(lost.id, [{ id: 2, sipCallId: 'b', state: 4 }]);
      lose(usual, 'NORMAL_CLEARING');
      lose(lost);
      await until(() => first.done[0], 'the end of one');
      expect(first.done).to.deep.equal(['dlg.end_dlg 7 2']);
    });

    it('are asked for again when Kamailio cannot be reached', async () => {
      const call = create();
      second.dialogs.set(call.id, [{ id: 1, sipCallId: 'a', state: 4 }]);
      second.away = 1;
      lose(call);
      await until(() => second.done[0], 'the second try');
      await until(() => dialogs.forsaken === 0, 'all to be done');
    });

    it('that a Kamailio has forgotten by a restart are ended by a BYE of its own, tried until it is answered', async () => {
      const call = create();
      calls.reachable(call, [farEnd('forgotten')]);
      first.forget();
      first.byeCode = 408;
      lose(call);
      await until(() => first.done.length > 0, 'a first try');
      first.byeCode = 200;
      await until(() => dialogs.forsaken === 0, 'all to be done');
      expect(
        first.done.every((done) =>
          done.startsWith('tm.t_uac_wait BYE sip:mv.token@198.51.100.1:5060 sip:192.0.2.1:5060 .'),
        ),
      ).to.equal(true);
      expect(first.done.length).to.be.at.least(2);
    });
  });

  describe('of two calls with one Call-ID', () => {
    it('are told apart: one that is hung up ends alone, up or ringing', async () => {
      for (const state of [4, 2]) {
        const [one, other] = [relayed(), relayed()];
        first.dialogs.set(one.id, [{ id: state, sipCallId: 'shared', state }]);
        first.dialogs.set(other.id, [{ id: state + 10, sipCallId: 'shared', state }]);
        expect(await ender.end(other)).to.equal(true);
        expect(first.dialogs.get(one.id)?.[0]?.state).to.equal(state);
        expect(first.dialogs.get(other.id)?.[0]?.state).to.equal(5);
      }
    });
  });

  describe('when a call is to be hung up', () => {
    it('that is answered at this moment, the dialog is ended as it is now', async () => {
      const call = create('sip');
      first.dialogs.set(call.id, [{ id: 1, sipCallId: 'a', state: 2 }]);
      const racing: Rpc = {
        url: '',
        call: (method, params) => {
          const dialog = first.dialogs.get(call.id)?.[0];
          if (method === 'tm.reply' && dialog?.state === 2) dialog.state = 4;
          return first.rpc.call(method, params);
        },
      };
      const racer = new CallEnder({
        rpcs: [racing],
        logger: pino({ enabled: false }),
        audio: { knows: () => Promise.resolve(undefined), forget: () => Promise.resolve() },
      });
      expect(await racer.end(call)).to.equal(true);
      expect(first.done.at(-1)).to.equal('dlg.end_dlg 7 1');
    });

    it('and nobody has it, that is certain where every Kamailio was up all the while', async () => {
      now += 10_000;
      expect(await ender.end(relayed())).to.equal(false);
    });

    it('and a Kamailio cannot be reached, that is an error that says when to come back', async () => {
      first.away = 100;
      const failure = await ender.end(relayed()).catch((error: unknown) => error);
      expect(failure)
        .to.be.instanceOf(ApiError)
        .and.to.include({ code: 'service_unavailable', retryAfter: 2 });
    });

    it('and a Kamailio has forgotten it, both sides are sent a BYE; one side that says 481 is gone', async () => {
      const call = relayed();
      calls.reachable(call, [farEnd('a', 'sip:mv.caller@edge'), farEnd('a', 'sip:mv.callee@edge')]);
      first.forget();
      expect(await ender.end(call)).to.equal(true);
      expect(first.done.map((done) => done.split(' ')[2])).to.have.members([
        'sip:mv.caller@edge',
        'sip:mv.callee@edge',
      ]);
      first.byeCode = 481;
      expect(await ender.end(call)).to.equal(false);
      first.byeCode = 408;
      expect(await ender.end(call).catch((error: unknown) => (error as ApiError).code)).to.equal(
        'service_unavailable',
      );
    });
  });

  describe('a relayed call that must end', () => {
    it('stays in the books while it cannot be reached, and is ended when it can', async () => {
      const call = relayed();
      first.dialogs.set(call.id, [{ id: 1, sipCallId: 'a', state: 4 }]);
      first.away = second.away = 2;
      ends.endUntilOver(call, ENDING);
      await new Promise((resolve) => setImmediate(resolve));
      expect(call.status).to.equal('in_progress');
      await until(() => first.done[0], 'a later try');
      await until(() => call.status === 'failed', 'its end');
      expect(call.failure?.code).to.equal('insufficient_balance');
      expect(ends.trying).to.equal(0);
    });

    it('that ends by itself meanwhile is not ended again', async () => {
      const call = relayed();
      first.away = 1000;
      ends.endUntilOver(call, ENDING);
      calls.end(call, { hangup: { by: 'caller', cause: 'NORMAL_CLEARING' } });
      expect([call.status, ends.trying]).to.deep.equal(['completed', 0]);
    });
  });

  describe('compared with the books', () => {
    const afterwards = async (): Promise<void> => {
      now += 30_000;
      await dialogs.sweep();
    };

    it('a call that is not listed by a Kamailio that was up all the while is over', async () => {
      const call = relayed();
      await afterwards();
      expect([call.status, call.hangup?.cause]).to.deep.equal(['completed', 'UNKNOWN']);
    });

    it('a call that is so young that it may not be listed yet goes on', async () => {
      const call = relayed();
      await dialogs.sweep();
      expect(call.status).to.equal('in_progress');
    });

    for (const [what, lose] of [
      ['has restarted', (): void => first.forget()],
      [
        'cannot be reached',
        (): void => {
          first.away = 100;
        },
      ],
    ] as const) {
      it(`a call goes on when a Kamailio ${what}, while there is audio and while nobody can say; without audio it is over`, async () => {
        const call = relayed();
        lose();
        audio = true;
        await afterwards();
        expect(call.status).to.equal('in_progress');
        audio = undefined;
        await afterwards();
        expect(call.status).to.equal('in_progress');
        audio = false;
        await afterwards();
        expect(call.status).to.equal('completed');
      });
    }

    it('a call that was relayed without its decision goes on: it has no id of ours there, and is known by its Call-ID and number', async () => {
      const [call, other] = [relayed(), relayed()];
      first.dialogs.set('-', [
        { id: 1, sipCallId: 'shared', state: 4, number: '+1999' },
        { id: 2, sipCallId: 'shared', state: 4, number: call.to },
      ]);
      await afterwards();
      expect([call.status, other.status]).to.deep.equal(['in_progress', 'in_progress']);
      expect(await ender.end(call)).to.equal(true);
      expect(first.done).to.deep.equal(['dlg.end_dlg 7 2']);
    });

    it('a call that was relayed without its decision, and is in no books, goes on only where it costs nothing', async () => {
      const startedAt = Math.floor(now / 1000);
      first.dialogs.set('-', [
        { id: 1, sipCallId: 'a', state: 4, startedAt, number: '+1777' },
        { id: 2, sipCallId: 'b', state: 4, startedAt, number: '+1888' },
        { id: 3, sipCallId: 'c', state: 2, number: '+1777' },
      ]);
      await dialogs.sweep();
      expect(first.done, 'it may come to be in the books').to.be.empty;
      await afterwards();
      expect(first.done).to.deep.equal(['dlg.end_dlg 7 1']);
    });

    it('a Kamailio that takes long to say how long it has been up was not up for longer', async () => {
      now = Date.now();
      const call = relayed();
      first.forget();
      const soon = first.rpc.call;
      first.rpc.call = async (method, params) => {
        const reply = await soon(method, params);
        if (method !== 'core.uptime') return reply;
        now += 30_000;
        return { uptime: 31 };
      };
      audio = true;
      await dialogs.sweep();
      expect(call.status).to.equal('in_progress');
    });

    it('a call that was answered while nobody listened is answered since then', async () => {
      const call = create('sip');
      const startedAt = Math.floor(now / 1000);
      second.dialogs.set(call.id, [{ id: 1, sipCallId: 'a', state: 4, startedAt }]);
      await afterwards();
      expect(call.answeredAt?.getTime()).to.equal((startedAt + 1) * 1000);
    });
  });
});
