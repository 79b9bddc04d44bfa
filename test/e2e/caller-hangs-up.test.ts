import { expect } from 'chai';
import { spoken } from '../support/voice.ts';
import { callTo, endedCallTo, pidOf, timeline, until, type Tenant } from './platform.ts';
import { stage, type Stage } from './stage.ts';

const LONG = 'This is a rather long announcement, which nobody will ever hear to its end, because the caller always hangs up somewhere in the middle of it.';

describe('a caller who hangs up', () => {
  let own: Tenant;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => void ({ own, place, dial } = await stage()));

  async function canceled(): Promise<void> {
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'canceled' });
    expect(record).to.not.have.property('answered_at');
    expect(record.hangup).to.include({ by: 'caller', sip_code: 487 });
    await own.server.webhook(record.id, 'call.canceled');
  }

  async function completed(): Promise<void> {
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'caller' });
    expect((await own.server.webhook(record.id, 'call.completed')).data).to.have.nested.property('hangup.by', 'caller');
  }

  it('before the decision: the INVITE is ended with 487 and the call canceled', async () => {
    const control = await pidOf('control');
    process.kill(control, 'SIGSTOP');
    try {
      const call = await place();
      await call.cancel();
      expect((await call.final()).code).to.equal(487);
    } finally {
      process.kill(control, 'SIGCONT');
    }
    // The control plane finds the request in its socket, and the word of the caller's change of mind after it.
    await canceled();
  });

  it('while the answer_url is asked: canceled, and the request is given up', async () => {
    let given: boolean | undefined;
    own.server.answers.set('/answer', (_request, response) => response.on('close', () => (given = !response.writableEnded)));
    const call = await place();
    await call.provisional(180);
    await until(() => own.server.requests.length > 0, 'the answer_url to be asked');
    await call.cancel();
    expect((await call.final()).code).to.equal(487);
    await canceled();
    await until(() => given, 'the request to be given up', 2000);
  });

  it('in a prompt: completed', async () => {
    const call = await dial([{ say: { text: LONG } }]);
    await call.heard.waitUntilHears(await spoken(LONG), { fraction: 0.15 });
    expect(await call.hangup()).to.equal(200);
    await completed();
  });

  it('in a gather: completed, and the gather is told of', async () => {
    const call = await dial([{ gather: { prompt: 'Your number please.', num_digits: 8, timeout_seconds: 30 } }]);
    await call.heard.waitUntilHears(await spoken('Your number please.'));
    await call.press('12');
    await until(async () => (await timeline((await callTo(own)).id, own.key)).filter(({ kind }) => kind === 'digit').length === 2, 'two keys to arrive');
    await call.hangup();
    await completed();
    const { id } = await endedCallTo(own);
    expect((await own.server.webhook(id, 'call.gathered')).data).to.include({ digits: '12', status: 'hangup' });
  });

  it('in a pause: completed', async () => {
    const call = await dial([{ pause: { seconds: 30 } }]);
    await until(() => call.heard.durationMs > 300, 'audio to flow in the pause');
    await call.hangup();
    await completed();
  });
});
