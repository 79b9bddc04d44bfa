import { expect } from 'chai';
import { Redis } from 'ioredis';
import { byCaller, callFrom } from '../e2e/conference-calls.ts';
import {
  crash,
  done,
  healthy,
  instance,
  pidOf,
  ready,
  sip,
  timeline,
  until,
  type Tenant,
} from '../e2e/platform.ts';
import { stage } from '../e2e/stage.ts';
import { hearsMusic, hearsNothing, hearsTone } from '../support/hears.ts';
import type { Call, Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { spoken } from '../../cli/phone/voice.ts';

/** Calls go to the two nodes in turn, so that of two callers one is not where the room is. */
const [ANNA, BERT] = ['+15551230001', '+15551230002'];

describe('a conference with two media nodes', function () {
  this.timeout(60_000);
  let phone: Phone;
  let own: Tenant;

  beforeEach(async () => void ({ phone, own } = await stage()));
  afterEach(async () => {
    await ready();
    for (const part of ['media', 'media-2']) await healthy(part);
    await bothTakeCalls();
  });

  /**
   * Kamailio passes over a node that hung or died until a probe finds it well: calls do not alternate before.
   */
  const bothTakeCalls = async (): Promise<void> => {
    const rpc = (await instance.status())?.coordinates.rpc ?? '';
    await until(
      async () => {
        const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'dispatcher.list' });
        const headers = { 'content-type': 'application/json' };
        const reply = await fetch(rpc, { method: 'POST', headers, body });
        return (await reply.text()).match(/"FLAGS":\s*"A/g)?.length === 2;
      },
      'Kamailio to give calls to both nodes',
      30_000,
    );
  };

  const dial = async (from: string, frequency: number): Promise<Call> => {
    const call = await phone.call({ to: own.number, from, via: sip, sound: tone(frequency) });
    await call.answered();
    return call;
  };
  const eventsOf = async (from: string) => timeline((await callFrom(own, from)).id, own.key);
  const entered = async (from: string) =>
    until(
      async () => (await eventsOf(from)).find(({ kind }) => kind === 'conference.entered'),
      `${from} to enter`,
    );

  /** Anna first, where the room will be; then Bert, on the other node. */
  const both = async (anna: object, bert: object): Promise<[Call, Call]> => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team', ...anna } }, { say: { text: 'Anna is out of the room.' } }],
      [BERT]: [{ conference: { room: 'team', ...bert } }, { say: { text: 'Bert is out of the room.' } }],
    });
    const first = await dial(ANNA, 600);
    await hearsMusic(first);
    const second = await dial(BERT, 1000);
    expect([(await entered(ANNA)).relayed, (await entered(BERT)).relayed]).to.deep.equal([false, true]);
    return [first, second];
  };
  /** The parts of the instance that have the room, and have it not. */
  const nodes = async (): Promise<{ room: string; other: string }> => {
    const at = (await instance.status())?.coordinates;
    const redis = new Redis(at?.redis_url ?? '');
    const name = await redis.get(`conference:{${own.applicationId}-team}:node`);
    redis.disconnect();
    const first = name === at?.media_nodes[0]?.replace(/:\d+:/, ':');
    return first ? { room: 'media', other: 'media-2' } : { room: 'media-2', other: 'media' };
  };
  const over = async (from: string) =>
    until(async () => {
      const call = await callFrom(own, from);
      return ['completed', 'failed'].includes(call.status) && call;
    }, `the end of the call from ${from}`);

  it('those on both nodes hear each other, whatever keys they press; the leg between the nodes is no call', async () => {
    const [anna, bert] = await both({}, {});
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await bert.press('5');
    await hearsTone(anna, 1000);
    const calls = (await done('GET', '/v1/calls', undefined, own.key)).data as unknown[];
    expect(calls).to.have.length(2);
    await bert.hangup();
    await hearsMusic(anna);
    expect((await over(BERT)).hangup).to.include({ by: 'caller' });
    await anna.hangup();
    await over(ANNA);
  });

  it('music reaches the last one on the other node, who goes on alone in the room', async () => {
    const [anna, bert] = await both({}, {});
    await hearsTone(bert, 600);
    await anna.hangup();
    await hearsMusic(bert);
    await bert.hangup();
    await over(BERT);
  });

  it('a muted one is muted from there too', async () => {
    const [anna, bert] = await both({}, { mute: true });
    await hearsTone(bert, 600);
    await hearsNothing(anna, 1000);
    await bert.hangup();
    await anna.hangup();
  });

  it('muted by an action before, he is not heard from the other node', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }],
      [BERT]: [{ mute: { direction: 'write' } }, { conference: { room: 'team' } }],
    });
    const anna = await dial(ANNA, 600);
    await hearsMusic(anna);
    const bert = await dial(BERT, 1000);
    await hearsTone(bert, 600);
    await hearsNothing(anna, 1000);
    await bert.hangup();
    await anna.hangup();
  });

  it('the room ends for all when the one from the other node leaves it who ends it', async () => {
    const [anna, bert] = await both({}, { end_on_exit: true });
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await bert.hangup();
    await anna.heard.waitUntilHears(await spoken('Anna is out of the room.'));
    await anna.ended();
  });

  it('and for the one from the other node when one of the room ends it', async () => {
    const [anna, bert] = await both({ end_on_exit: true }, {});
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await anna.hangup();
    await bert.heard.waitUntilHears(await spoken('Bert is out of the room.'));
    await bert.ended();
    const { id } = await over(BERT);
    expect(
      (await timeline(id, own.key)).find(
        ({ kind, action }) => kind === 'action.ended' && action === 'conference',
      ),
    ).to.include({ ended: 'room_ended' });
  });

  it('other actions take the one from the other node out', async () => {
    const [anna, bert] = await both({}, {});
    await hearsTone(bert, 600);
    await done(
      'POST',
      `/v1/calls/${(await callFrom(own, BERT)).id}/actions`,
      { actions: [{ say: { text: 'You were taken out of the room.' } }] },
      own.key,
    );
    await Promise.all([
      bert.heard.waitUntilHears(await spoken('You were taken out of the room.')),
      hearsMusic(anna),
    ]);
    await bert.ended();
    await anna.hangup();
  });

  it('two who are the first at once, on both nodes, meet', async () => {
    byCaller(own, { [ANNA]: [{ conference: { room: 'team' } }], [BERT]: [{ conference: { room: 'team' } }] });
    const [anna, bert] = await Promise.all([dial(ANNA, 600), dial(BERT, 1000)]);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    expect([(await entered(ANNA)).relayed, (await entered(BERT)).relayed]).to.have.members([false, true]);
    await anna.hangup();
    await bert.hangup();
  });

  it('without Redis they meet as well', async () => {
    byCaller(own, { [ANNA]: [{ conference: { room: 'team' } }], [BERT]: [{ conference: { room: 'team' } }] });
    await instance.stop('redis');
    try {
      const [anna, bert] = await Promise.all([dial(ANNA, 600), dial(BERT, 1000)]);
      await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
      await anna.hangup();
      await bert.hangup();
    } finally {
      await instance.start('redis');
    }
  });

  it('the control plane dies: they go on talking, and the end of the room is seen', async () => {
    const [anna, bert] = await both({ end_on_exit: true }, {});
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await crash('control');
    await ready();
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await until(
      async () => (await eventsOf(BERT)).some(({ kind }) => kind === 'flow.resumed'),
      'the call to be taken over',
    );
    await anna.hangup();
    await bert.heard.waitUntilHears(await spoken('Bert is out of the room.'));
    await bert.ended();
    await over(BERT);
  });

  for (const [what, signal] of [
    ['dies, and is back at once', 'SIGKILL'],
    ['hangs', 'SIGSTOP'],
  ] as const) {
    it(`the node of the room ${what}: who is left meets on the other node`, async () => {
      const [anna, bert] = await both({}, {});
      await hearsTone(bert, 600);
      const pid = await pidOf((await nodes()).room);
      process.kill(pid, signal);
      try {
        await hearsMusic(bert, 1300, 30_000);
        expect((await eventsOf(BERT)).map(({ kind }) => kind)).to.include('conference.moved');
        expect((await over(ANNA)).failure).to.include({ code: 'media_unavailable' });
        await anna.ended();
        await bert.hangup();
        expect((await over(BERT)).hangup).to.include({ by: 'caller' });
      } finally {
        if (signal === 'SIGSTOP') process.kill(pid, 'SIGCONT');
      }
    });
  }

  it('the node of a member dies: he does not stay in the room as a silent one', async () => {
    const [anna, bert] = await both({}, {});
    await hearsTone(bert, 600);
    process.kill(await pidOf((await nodes()).other), 'SIGKILL');
    await hearsMusic(anna, 1300, 30_000);
    expect((await over(BERT)).failure).to.include({ code: 'media_unavailable' });
    await bert.ended();
    await anna.hangup();
  });
});
