import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { Flow } from '../../../control/flow/flow.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import type { FlowState } from '../../../control/flow/state.ts';
import { deferred } from '../../../control/lib/deferred.ts';
import { ChannelGone, type ConferenceEnd } from '../../../control/media/media.ts';
import type { FakeChannel } from './fake-channel.ts';
import { ANSWER_URL, FlowRig, turn, until } from './flow-rig.ts';

describe('a flow taken over from a process that died', () => {
  let rig: FlowRig;
  let call: Call;
  let channel: FakeChannel;

  beforeEach(() => {
    rig = new FlowRig();
    ({ call, channel } = rig);
  });

  const place = (actions: unknown[], at: Partial<FlowState>): void => {
    rig.saved.set(call.id, {
      steps: parseActions({ actions }),
      index: 0,
      depth: 0,
      begun: 0,
      digits: '',
      ...at,
    });
    channel.answered = true;
    rig.calls.answered(call);
  };

  it('waits for the prompt that still plays, then goes on with the next action', async () => {
    place([{ say: { text: 'one' } }, { say: { text: 'two' } }], {});
    let finish: (how: 'finished') => void = () => undefined;
    const running = new Flow(call, rig.services()).run(
      rig.park({
        playing: {
          source: '/prompts/one.wav',
          finished: new Promise((resolve) => {
            finish = resolve;
          }),
        },
      }),
    );
    await turn();
    expect(channel.asked).to.deep.equal([]);
    finish('finished');
    await running;
    expect(channel.asked).to.deep.equal(['play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
    expect(rig.asked).to.deep.equal([]);
  });

  it('goes on with the next action when the prompt has ended meanwhile', async () => {
    place([{ say: { text: 'one' } }, { say: { text: 'two' } }], {});
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.deep.equal(['play /prompts/two.wav', 'hangup NORMAL_CLEARING']);
  });

  it('plays a prompt that had not begun', async () => {
    place([{ say: { text: 'one', loop: 2 } }], { begun: -1 });
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.deep.equal([
      'play /prompts/one.wav',
      'play /prompts/one.wav',
      'hangup NORMAL_CLEARING',
    ]);
  });

  it('asks again in a gather whose prompt had not begun', async () => {
    place([{ gather: { prompt: 'menu', num_digits: 1 } }], { begun: -1 });
    const running = new Flow(call, rig.services()).run(rig.park({}));
    await until(() => channel.asked.includes('play /prompts/menu.wav'));
    channel.press('3');
    await running;
    expect(rig.gathered[0]).to.include({ digits: '3' });
  });

  it('sends the keys that had not been handed over', async () => {
    place([{ send_digits: { digits: '12w34W5' } }], { begun: 3 });
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.deep.equal(['digits 34', 'digits W', 'digits 5', 'hangup NORMAL_CLEARING']);
  });

  it('keeps the digits a gather had and does not repeat its prompt', async () => {
    place([{ gather: { prompt: 'menu', num_digits: 3 } }], { digits: '12' });
    const running = new Flow(call, rig.services()).run(rig.park({}));
    await until(() => channel.listening);
    channel.press('3');
    await running;
    expect(rig.gathered[0]).to.include({ digits: '123', status: 'completed' });
    expect(channel.asked).to.deep.equal(['hangup NORMAL_CLEARING']);
  });

  it('tells of a gather whose caller leaves while its prompt still plays', async () => {
    place([{ gather: { prompt: 'menu', num_digits: 3 } }], {});
    const running = new Flow(call, rig.services()).run(
      rig.park({
        playing: {
          source: '/prompts/menu.wav',
          finished: channel.ended.then(() => Promise.reject(new ChannelGone(channel.uuid))),
        },
      }),
    );
    await until(() => channel.listening);
    channel.callerHangsUp();
    await running;
    expect(rig.gathered[0]).to.include({ status: 'hangup' });
    expect(call.status).to.equal('completed');
  });

  it('sees a connected leg through to its end', async () => {
    place([{ transfer: { destination: '+15557777' } }], { legAnsweredAt: 1 });
    await new Flow(call, rig.services()).run(
      rig.park({
        bridging: {
          connected: true,
          answered: Promise.resolve(true),
          finished: Promise.resolve({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' }),
        },
      }),
    );
    expect(call.hangup?.by).to.equal('callee');
  });

  it('knows of a leg that ended meanwhile whether it had been reached', async () => {
    place([{ bridge: { destination: '+15557777' } }, { say: { text: 'sorry' } }], {});
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.include('play /prompts/sorry.wav');
  });

  it('stays in a conference that goes on, and goes on with the next', async () => {
    const stay = deferred<ConferenceEnd>();
    place(
      [{ conference: { room: 'sales' } }, { conference: { room: 'support' } }, { say: { text: 'after' } }],
      {},
    );
    const running = new Flow(call, rig.services()).run(
      rig.park({ conferencing: { node: channel.node, finished: stay.promise } }),
    );
    stay.resolve('over');
    await until(() => channel.asked.length === 1);
    channel.leaveRoom('over');
    await running;
    expect(channel.asked).to.deep.equal([
      'conference app_1-support false false',
      'play /prompts/after.wav',
      'hangup NORMAL_CLEARING',
    ]);
  });

  it('does not enter a conference again that ended while nobody looked', async () => {
    place([{ conference: { room: 'sales' } }, { say: { text: 'after' } }], {});
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.deep.equal(['play /prompts/after.wav', 'hangup NORMAL_CLEARING']);
  });

  it('enters a conference that had not begun', async () => {
    place([{ conference: { room: 'sales' } }], { begun: -1 });
    const running = new Flow(call, rig.services()).run(rig.park({}));
    await until(() => channel.asked.length === 1);
    channel.leaveRoom('over');
    await running;
    expect(channel.asked).to.deep.equal(['conference app_1-sales false false', 'hangup NORMAL_CLEARING']);
  });

  it('asks the answer_url again when the place is lost', async () => {
    channel.answered = true;
    rig.calls.answered(call);
    rig.answers[ANSWER_URL] = [{ say: { text: 'again' } }];
    await new Flow(call, rig.services()).run(rig.park({}));
    expect(channel.asked).to.deep.equal(['interrupt', 'play /prompts/again.wav', 'hangup NORMAL_CLEARING']);
  });
});
