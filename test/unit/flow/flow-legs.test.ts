import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { parseActions } from '../../../control/flow/schema.ts';
import { ApiError } from '../../../control/lib/errors.ts';
import { MediaError } from '../../../control/media/media.ts';
import type { FakeChannel } from './fake-channel.ts';
import { FlowRig, until } from './flow-rig.ts';

describe('a flow', () => {
  let rig: FlowRig;
  let call: Call;
  let channel: FakeChannel;

  beforeEach(() => {
    rig = new FlowRig();
    ({ call, channel } = rig);
  });

  describe('with a second leg', () => {
    const legKinds = () => rig.kinds.filter((kind) => kind.startsWith('leg.'));

    it('transfer: the flow is over once it is connected, and the callee who hangs up is named', async () => {
      const flow = rig.run({ transfer: { to: '+15557777', from: '+15558888' } }, { say: { text: 'never' } });
      await until(() => channel.leg !== undefined);
      channel.leg?.onRinging?.();
      channel.leg?.onAnswered?.('uuid-b');
      channel.endLeg({ reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' });
      await flow;
      expect(channel.asked).to.deep.equal([
        'answer',
        'bridge sip:+15557777@carrier from +15558888',
        'hangup NORMAL_CLEARING',
      ]);
      expect(call.hangup?.by).to.equal('callee');
      expect(call.status).to.equal('completed');
      expect(legKinds()).to.deep.equal(['leg.requested', 'leg.ringing', 'leg.answered', 'leg.ended']);
    });

    for (const [what, result] of [
      ['busy', { reached: false, sipCode: 486, cause: 'USER_BUSY' }],
      ['no answer', { reached: false, cause: 'NO_ANSWER' }],
    ] as const) {
      it(`transfer: ${what} ends the call failed`, async () => {
        channel.legResult = result;
        await rig.run({ transfer: { destination: 'sip:a@example.com' } }, { say: { text: 'never' } });
        expect(call.status).to.equal('failed');
        expect(call.failure?.code).to.equal('transfer_unreachable');
        expect(channel.asked.at(-1)).to.equal('hangup NORMAL_TEMPORARY_FAILURE');
      });
    }

    it('transfer: no way to the number is unreachable too', async () => {
      await rig.run({ transfer: { destination: '+15550000' } });
      expect(call.failure?.code).to.equal('transfer_unreachable');
    });

    it('tells the application what becomes of it, also where the caller has left, with its trunk and how it ended', async () => {
      const told = () =>
        rig.changes
          .flatMap(({ outbox }) => outbox)
          .filter(({ event }) => event.startsWith('leg.'))
          .map(({ body }) => {
            const {
              event,
              data: { event_key: _key, ...data },
            } = JSON.parse(body) as { event: string; data: Record<string, unknown> };
            return [event, data];
          });
      const { running } = rig.start({ bridge: { destination: '+15557777' } });
      await until(() => channel.leg !== undefined);
      channel.leg?.onTrunk?.('trunk_1');
      channel.leg?.onRinging?.();
      channel.leg?.onAnswered?.('uuid-b');
      channel.end({ by: 'caller', cause: 'NORMAL_CLEARING', at: new Date() });
      await running;
      await until(() => told().length === 3);
      const leg = { destination: '+15557777', trunk_id: 'trunk_1' };
      expect(told().slice(0, 2)).to.deep.equal([
        ['leg.ringing', leg],
        ['leg.answered', leg],
      ]);
      expect(told()[2]?.[1]).to.include({
        ...leg,
        reached: true,
        cause: 'NORMAL_CLEARING',
        ended_by: 'caller',
      });
    });

    it('bridge: a leg that is not reached falls through to the actions after it', async () => {
      channel.legResult = { reached: false, sipCode: 486, cause: 'USER_BUSY' };
      await rig.run(
        { bridge: { destination: '+15557777', timeout_seconds: 20 } },
        { say: { text: 'sorry' } },
      );
      expect(channel.leg?.timeoutSeconds).to.equal(20);
      expect(channel.asked.at(-2)).to.equal('play /prompts/sorry.wav');
      expect(call.status).to.equal('completed');
    });

    it('bridge: a leg that the media node cannot dial falls through to the actions after it; a transfer fails', async () => {
      channel.legError = new MediaError('no such thing can be dialled');
      await rig.run({ bridge: { destination: '+15557777' } }, { say: { text: 'sorry' } });
      expect(channel.asked.at(-2)).to.equal('play /prompts/sorry.wav');
      expect(call.status).to.equal('completed');
      expect(legKinds()).to.deep.equal(['leg.requested', 'leg.failed', 'leg.ended']);
      const other = new FlowRig();
      other.channel.legError = new MediaError('no such thing can be dialled');
      await other.run({ transfer: { destination: '+15557777' } });
      expect(other.call.failure?.code).to.equal('media_unavailable');
    });

    it('bridge: once connected the actions after it never run', async () => {
      channel.legResult = { reached: true, cause: 'NORMAL_CLEARING', endedBy: 'callee' };
      await rig.run({ bridge: { destination: '+15557777' } }, { say: { text: 'never' } });
      expect(channel.asked).to.not.include('play /prompts/never.wav');
      expect(call.hangup?.by).to.equal('callee');
    });

    it('a caller who hangs up while it rings completes the answered call', async () => {
      const flow = rig.run({ transfer: { destination: '+15557777' } });
      await until(() => channel.leg !== undefined);
      channel.callerHangsUp();
      await flow;
      expect(call.status).to.equal('completed');
      expect(call.hangup?.by).to.equal('caller');
    });

    it('other actions through the API end a leg that rings', async () => {
      const { flow, running } = rig.start({ transfer: { destination: '+15557777' } });
      await until(() => channel.leg !== undefined);
      await flow.replace(parseActions({ actions: [{ say: { text: 'instead' } }] }));
      await running;
      expect(channel.asked).to.include('play /prompts/instead.wav');
      expect(call.status).to.equal('completed');
    });
  });

  describe('that costs something', () => {
    it('is let in before it is answered', async () => {
      await rig.run({ say: { text: 'one' } });
      expect(rig.paid).to.deep.equal(['call']);
    });

    it('is not answered when there is no money for it', async () => {
      rig.unpaid = new ApiError('insufficient_balance');
      await rig.run({ say: { text: 'one' } });
      expect(channel.asked).to.deep.equal(['refuse 480']);
      expect(call.failure?.code).to.equal('insufficient_balance');
    });

    it('is not answered when nobody can say whether there is', async () => {
      rig.unpaid = new ApiError('service_unavailable');
      await rig.run({ say: { text: 'one' } });
      expect(channel.asked).to.deep.equal(['refuse 500']);
      expect(call.failure?.code).to.equal('internal_error');
    });

    it('ends failed when it is not paid for any longer', async () => {
      channel.holdPlaying = true;
      const { flow, running } = rig.start({ say: { text: 'one' } });
      await until(() => channel.asked.includes('play /prompts/one.wav'));
      await flow.fail({
        code: 'insufficient_balance',
        message: 'the balance does not cover more of this call',
      });
      await running;
      expect(channel.asked.at(-1)).to.equal('hangup NORMAL_CLEARING');
      expect(call).to.include({ status: 'failed' });
      expect(call.hangup?.by).to.equal('platform');
      expect(call.failure?.code).to.equal('insufficient_balance');
    });

    it('tells what becomes of its second leg, and of one that was not reached too', async () => {
      channel.legResult = { reached: false, cause: 'USER_BUSY', sipCode: 486 };
      await rig.run({ bridge: { destination: '+15557777' } });
      expect(rig.paid).to.deep.equal(['call', 'leg ended']);
    });

    for (const [refused, failure] of [
      ['insufficient_balance', 'insufficient_balance'],
      ['cps_limit_reached', 'limit_reached'],
      ['spend_control_exceeded', 'limit_reached'],
      ['rate_not_found', 'transfer_unreachable'],
    ] as const) {
      it(`fails by ${failure} when its transfer is refused by ${refused}`, async () => {
        rig.refusal = new ApiError(refused);
        await rig.run({ transfer: { destination: '+15557777' } });
        expect(call.failure?.code).to.equal(failure);
        expect(rig.kinds).to.include('leg.refused');
        expect(channel.leg).to.equal(undefined);
      });
    }

    it('goes on with what follows a bridge that is refused', async () => {
      rig.refusal = new ApiError('insufficient_balance');
      await rig.run({ bridge: { destination: '+15557777' } }, { say: { text: 'sorry' } });
      expect(channel.asked).to.deep.equal(['answer', 'play /prompts/sorry.wav', 'hangup NORMAL_CLEARING']);
      expect(call.status).to.equal('completed');
    });
  });
});
