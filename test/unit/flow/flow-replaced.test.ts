import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { Flow } from '../../../control/flow/flow.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import type { FakeChannel } from './fake-channel.ts';
import { FlowRig, turn, until } from './flow-rig.ts';

describe('a flow that is replaced through the API', () => {
  let rig: FlowRig;
  let call: Call;
  let channel: FakeChannel;

  beforeEach(() => {
    rig = new FlowRig();
    ({ call, channel } = rig);
  });

  const replacement = parseActions({ actions: [{ say: { text: 'instead' } }] });

  it('stops the prompt and runs the given actions in place of the rest', async () => {
    channel.holdPlaying = true;
    const { flow, running } = rig.start({ say: { text: 'one', loop: 3 } }, { say: { text: 'never' } });
    await until(() => channel.asked.length === 2);
    channel.holdPlaying = false;
    await flow.replace(replacement);
    await running;
    expect(channel.asked).to.deep.equal([
      'answer',
      'play /prompts/one.wav',
      'interrupt',
      'play /prompts/instead.wav',
      'hangup NORMAL_CLEARING',
    ]);
    expect(rig.kinds).to.include('flow.replaced');
  });

  it('a gather it ends tells of no digits', async () => {
    const { flow, running } = rig.start({ gather: { num_digits: 4 } }, { say: { text: 'never' } });
    await until(() => channel.listening);
    channel.press('1');
    await flow.replace(replacement);
    await running;
    expect(rig.gathered).to.deep.equal([]);
    expect(channel.asked).to.include('play /prompts/instead.wav').and.not.include('play /prompts/never.wav');
    expect(channel.listening).to.equal(false);
  });

  it('a request for instructions is given up for it', async () => {
    const flow = new Flow(call, {
      ...rig.services(),
      ask: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
    });
    flow.prefetch();
    const running = flow.run(rig.park());
    await turn();
    await flow.replace(replacement);
    await running;
    expect(channel.asked).to.deep.equal([
      'interrupt',
      'answer',
      'play /prompts/instead.wav',
      'hangup NORMAL_CLEARING',
    ]);
    expect(call.status).to.equal('completed');
  });

  it('comes too late when the call is being ended', async () => {
    const { flow, running } = rig.start({ say: { text: 'one' } });
    await running;
    expect(await flow.replace(replacement)).to.equal(false);
  });

  it('can be done again and again', async () => {
    channel.holdPlaying = true;
    const { flow, running } = rig.start({ say: { text: 'one' } });
    for (const text of ['two', 'three']) {
      const before = channel.asked.length;
      await until(() => channel.asked.length >= before && channel.asked.at(-1)?.startsWith('play') === true);
      await flow.replace(parseActions({ actions: [{ say: { text } }] }));
      await until(() => channel.asked.at(-1) === `play /prompts/${text}.wav`);
    }
    channel.callerHangsUp();
    await running;
    expect(call.hangup?.by).to.equal('caller');
  });
});
