import { expect } from 'chai';
import type { Call } from '../support/call.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { callTo, endedCallTo, instance, ready, timeline, until, type Json, type Tenant } from './platform.ts';
import { SecondControl } from './second-control.ts';
import { customer, stage, type Stage } from './stage.ts';

const GREETING = 'This call was answered by the first control process.';

describe('two control processes', function () {
  this.timeout(80_000);
  let own: Tenant;
  let dial: Stage['dial'];
  let second: SecondControl;

  before(async () => void (second = await SecondControl.start()));
  after(() => second.end());
  beforeEach(async () => void ({ own, dial } = await stage()));
  afterEach(ready);

  /** A call in progress; inbound ones are the first process's, which Kamailio asks. */
  async function inProgress(): Promise<{ call: Call; id: string; path: string }> {
    const call = await dial([{ say: { text: GREETING } }, { pause: { seconds: 60 } }]);
    await call.heard.waitUntilHears(await spoken(GREETING));
    const { id } = await until(async () => {
      const found = await callTo(own);
      return found.status === 'in_progress' && found;
    }, 'the call to be in progress');
    expect(id.at(-3)).to.equal('0');
    return { call, id, path: `/v1/calls/${id}` };
  }

  it("show each other's calls", async () => {
    const { call, id, path } = await inProgress();
    expect(await second.done('GET', path, undefined, own.key)).to.include({ id, status: 'in_progress' });
    expect((await second.done('GET', `${path}/events`, undefined, own.key)).data).to.not.have.length(0);
    await call.hangup();
  });

  it("hang up each other's calls, once", async () => {
    const { call, path } = await inProgress();
    expect(await second.done('POST', `${path}/hangup`, undefined, own.key)).to.include({
      status: 'in_progress',
    });
    expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'completed' });
    expect(record.hangup).to.include({ by: 'api' });
    const again = await second.api('POST', `${path}/hangup`, undefined, own.key);
    expect([again.status, (again.body.error as Json).code]).to.deep.equal([409, 'call_not_active']);
  });

  it("give each other's calls other actions, and refuse what is none", async () => {
    const { call, id, path } = await inProgress();
    const bad = await second.api('POST', `${path}/actions`, { actions: [{ sing: {} }] }, own.key);
    expect([bad.status, (bad.body.error as Json).code]).to.deep.equal([400, 'invalid_request']);
    await second.done(
      'POST',
      `${path}/actions`,
      { actions: [{ say: { text: 'And these words come from the second.' } }] },
      own.key,
    );
    await call.heard.waitUntilHears(await spoken('And these words come from the second.'));
    await call.ended();
    expect((await endedCallTo(own)).hangup).to.include({ by: 'application' });
    expect((await timeline(id, own.key)).filter(({ kind }) => kind === 'flow.replaced')).to.have.length(1);
  });

  it("record each other's calls", async () => {
    const { call, id, path } = await inProgress();
    const control = async (action: string): Promise<Json> =>
      (await second.done('POST', `${path}/recordings`, { action }, own.key)).data as Json;
    const started = await control('start');
    expect(started).to.include({ call_id: id, action: 'start' });
    expect(started.recording).to.include({ id: `rec_${id}`, status: 'started' });
    expect((await control('start')).recording).to.include({ id: `rec_${id}` });
    await until(
      async () => (await timeline(id, own.key)).some(({ kind }) => kind === 'recording.started'),
      'the recording to have started',
    );
    await control('stop');
    const refused = await second.api('POST', `${path}/recordings`, { action: 'stop' }, own.key);
    expect([refused.status, (refused.body.error as Json).code]).to.deep.equal([404, 'recording_not_started']);
    await call.hangup();
    expect((await own.server.webhook(id, 'recording.completed')).data).to.include({ id: `rec_${id}` });
  });

  it("know nothing of calls of others' applications, on any process", async () => {
    const { call, path } = await inProgress();
    const stranger = await customer();
    for (const [what, body] of [
      ['hangup', undefined],
      ['actions', { actions: [] }],
    ] as const) {
      expect((await second.api('POST', `${path}/${what}`, body, stranger.key)).status, what).to.equal(404);
    }
    await call.hangup();
  });

  it('one away: its calls can be hung up all the same, what needs it is refused at once, and it finishes the records when it is back', async () => {
    const { call, id, path } = await inProgress();
    await instance.stop('control');
    try {
      const refused = await second.api('POST', `${path}/actions`, { actions: [{ hangup: {} }] }, own.key);
      expect([refused.status, (refused.body.error as Json).code]).to.deep.equal([503, 'service_unavailable']);
      expect((refused.body.error as Json).message)
        .to.contain('control process 0')
        .and.to.contain('away');
      expect(refused.headers.get('retry-after')).to.equal('2');
      await second.done('POST', `${path}/hangup`, undefined, own.key);
      expect(await call.ended()).to.include({ by: 'remote', how: 'bye' });
    } finally {
      await instance.start('control');
    }
    expect(await endedCallTo(own)).to.include({ id, status: 'completed' });
  });
});
