import { expect } from 'chai';
import type { Call } from '../support/phone.ts';
import { Payer } from './payer.ts';
import { callTo, endedCallTo, until } from './platform.ts';
import { closing, stage } from './stage.ts';

const WAIT = [{ pause: { seconds: 60 } }, { pause: { seconds: 60 } }, { pause: { seconds: 60 } }];

/** What we have sent within the call to refresh it, or to change its audio. */
const refreshes = (call: Call): string[] =>
  call.messages
    .filter(({ received, text }) => received && /^(INVITE|UPDATE) /.test(text))
    .map(({ text }) => text);

/** A refresh beyond the INVITE that a called phone has got. */
const refreshed = (call: Call): Promise<unknown> =>
  until(() => refreshes(call).length > (call.invite ? 1 : 0), 'a refresh', 60_000);

// Each interval is the shortest there may be, so that all of them wait side by side.
describe('session timers (RFC 4028)', () => {
  it('are kept by both sides: refreshed by us at half time where that is ours, and ended when the peer has not', async () => {
    const [left, ours] = [await stage(), await stage()];
    const payer = closing(await Payer.open());
    const timer = (refresher: string) => ({
      headers: [
        ['Supported', 'timer'],
        ['Session-Expires', `90;refresher=${refresher}`],
      ] as [string, string][],
    });
    const notRefreshed = await left.dial(WAIT, timer('uac'));
    expect((await notRefreshed.final()).headers['session-expires']).to.match(/^90;\s*refresher=uac$/);
    const refreshedByUs = await ours.dial(WAIT, timer('uas'));
    expect((await refreshedByUs.final()).headers['session-expires']).to.match(/^90;\s*refresher=uas$/);
    const { id } = await payer.place({ actions: WAIT });
    const placed = await payer.carrier.incoming();
    placed.answer([
      ['Require', 'timer'],
      ['Session-Expires', '90;refresher=uac'],
      ['Allow', 'INVITE, ACK, BYE, CANCEL, UPDATE'],
    ]);

    await refreshed(refreshedByUs);
    await refreshed(placed);
    const end = await notRefreshed.ended(100_000);
    expect(end).to.include({ by: 'remote', how: 'bye' });
    const call = await endedCallTo(left.own);
    expect(call).to.include({ status: 'completed' }).and.not.to.have.property('failure');
    expect(call.hangup).to.include({ by: 'platform', cause: 'RECOVERY_ON_TIMER_EXPIRE' });
    expect(await callTo(ours.own)).to.include({ status: 'in_progress' });
    expect(await payer.show(id)).to.include({ status: 'in_progress' });
    await refreshedByUs.hangup();
    await placed.hangup();
    expect((await payer.ended(id)).status).to.equal('completed');
  }).timeout(130_000);
});
