import { expect } from 'chai';
import type { Phone } from '../support/phone.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { nothingLeft } from './leftovers.ts';
import { endedCallTo, timeline, until, type Json, type Tenant } from './platform.ts';
import { phoneAt, stage, type Stage } from './stage.ts';

const FALLBACK = 'We could not reach them.';

/** Every way in which a second leg is not reached: what the callee does, and what the leg's end says. */
const FAILURES: { what: string; manner: Parameters<Phone['listen']>[0]; leg: Json; timeout?: number }[] = [
  { what: '486 busy', manner: { refuse: 486 }, leg: { sip_code: 486, cause: 'USER_BUSY' } },
  { what: '603 declined', manner: { refuse: 603 }, leg: { sip_code: 603, cause: 'CALL_REJECTED' } },
  { what: '480 unavailable', manner: { refuse: 480 }, leg: { sip_code: 480 } },
  { what: '404 not found', manner: { refuse: 404 }, leg: { sip_code: 404, cause: 'UNALLOCATED_NUMBER' } },
  { what: '302 moved', manner: { refuse: 302 }, leg: { sip_code: 302 } },
  { what: '503 unavailable', manner: { refuse: 503 }, leg: { sip_code: 503 } },
  { what: 'no answer', manner: 'ring', leg: { cause: 'NO_ANSWER' }, timeout: 5 },
];

describe('a second leg that is not reached', function () {
  this.timeout(30_000);
  let callee: Phone;
  let own: Tenant;
  let dial: Stage['dial'];

  beforeEach(async () => {
    ({ own, dial } = await stage());
    callee = await phoneAt('127.0.0.3');
  });

  /** The leg's lines of the timeline, and what its action came to. */
  async function storyOf(
    id: string,
    action: string,
  ): Promise<{ kinds: string[]; end: Json | undefined; result: Json | undefined }> {
    const lines = await until(async () => {
      const all = await timeline(id, own.key);
      return all.some(({ kind }) => kind === 'leg.ended') && all;
    }, 'the end of the leg to be told');
    return {
      kinds: lines.filter(({ kind }) => kind.startsWith('leg.')).map(({ kind }) => kind),
      end: lines.find(({ kind }) => kind === 'leg.ended'),
      result: lines.find((line) => line.kind === 'action.ended' && line.action === action),
    };
  }

  for (const { what, manner, leg, timeout } of FAILURES) {
    const fields = () => ({ destination: callee.uri, ...(timeout && { timeout_seconds: timeout }) });

    it(`transfer, ${what}: the call ends failed, and nothing is left`, async () => {
      callee.listen(manner);
      const call = await dial([{ transfer: fields() }, { say: { text: 'Never heard.' } }]);
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'failed' });
      expect(record.failure).to.include({ code: 'transfer_unreachable' });
      expect(record.hangup).to.include({ by: 'platform' });
      expect((await own.server.webhook(record.id, 'call.failed')).data).to.include({
        code: 'transfer_unreachable',
      });
      expect(own.server.of(record.id).map(({ event }) => event)).to.deep.equal([
        'call.created',
        'call.answered',
        ...(timeout ? ['leg.ringing'] : []),
        'leg.ended',
        'call.failed',
      ]);
      expect((await own.server.webhook(record.id, 'leg.ended')).data).to.include({
        destination: callee.uri,
        reached: false,
        billsec_seconds: 0,
        ...leg,
      });
      const { kinds, end, result } = await storyOf(record.id, 'transfer');
      expect(end).to.include({ reached: false, ...leg });
      expect(kinds).to.deep.equal(['leg.requested', ...(timeout ? ['leg.ringing'] : []), 'leg.ended']);
      expect(result).to.include({ result: 'failed' });
      if (timeout) expect(await (await callee.incoming()).ended()).to.include({ how: 'cancel' });
      await nothingLeft({ rtpengine: false });
    });

    it(`bridge, ${what}: the actions after it run, and the call completes`, async () => {
      callee.listen(manner);
      const call = await dial([{ type: 'bridge', ...fields() }, { say: { text: FALLBACK } }]);
      await call.heard.waitUntilHears(await spoken(FALLBACK), { fraction: 0.7 });
      await call.ended();
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'completed' }).and.not.have.property('failure');
      expect(record.hangup).to.include({ by: 'application' });
      await own.server.webhook(record.id, 'call.completed');
      const { end, result } = await storyOf(record.id, 'bridge');
      expect(end).to.include({ reached: false, ...leg });
      expect(result).to.include({ result: 'ok', reached: false });
      if (timeout) expect(await (await callee.incoming()).ended()).to.include({ how: 'cancel' });
      await nothingLeft({ rtpengine: false });
    });
  }

  for (const action of ['transfer', 'bridge']) {
    it(`${action}: a caller who hangs up while it rings cancels the leg, and completes the call`, async () => {
      callee.listen('ring');
      const call = await dial([{ [action]: { destination: callee.uri } }, { say: { text: FALLBACK } }]);
      const far = await callee.incoming();
      const { id } = await until(
        async () => own.server.webhooks.find(({ event }) => event === 'call.answered')?.call,
        'the call to be answered',
      );
      await until(
        async () => (await timeline(id, own.key)).some(({ kind }) => kind === 'leg.ringing'),
        'the leg to ring',
      );
      await call.hangup();
      expect(await far.ended()).to.include({ how: 'cancel' });
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'completed' }).and.not.have.property('failure');
      expect(record.hangup).to.include({ by: 'caller' });
      await own.server.webhook(id, 'call.completed');
      expect((await timeline(id, own.key)).find((line) => line.kind === 'action.ended')).to.include({
        action,
        result: 'hangup',
      });
      expect((await own.server.webhook(id, 'leg.ended')).data).to.include({
        destination: callee.uri,
        reached: false,
        cause: 'ORIGINATOR_CANCEL',
      });
      await nothingLeft({ rtpengine: false });
    });

    it(`${action}: a host that does not exist is not reached`, async () => {
      const call = await dial([
        { [action]: { destination: 'sip:nobody@127.0.0.9:9', timeout_seconds: 5 } },
        { say: { text: FALLBACK } },
      ]);
      await call.ended();
      expect((await endedCallTo(own)).status).to.equal(action === 'transfer' ? 'failed' : 'completed');
      await nothingLeft({ rtpengine: false });
    });
  }

  it('in the end rtpengine has none of these calls either', () => nothingLeft());
});
