import { expect } from 'chai';
import type { Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { channelsOf, toneShare } from '../support/stereo.ts';
import { spoken } from '../../cli/phone/voice.ts';
import {
  audio,
  callTo,
  done,
  endedCallTo,
  inside,
  sip,
  timeline,
  until,
  type Json,
  type Tenant,
} from './platform.ts';
import { customer, phoneAt, stage, type Stage } from './stage.ts';

describe('the actions', () => {
  let callee: Phone;
  let own: Tenant;
  let dial: Stage['dial'];

  beforeEach(async () => {
    ({ own, dial } = await stage());
    callee = await phoneAt('127.0.0.3');
  });

  it('send_digits: the far end gets the keys', async () => {
    const call = await dial([
      { send_digits: { digits: '12w#*9A', pause_before_ms: 200 } },
      { say: { text: 'All keys were sent.' } },
    ]);
    await call.heard.waitUntilKeys('12#*9A');
    await call.heard.waitUntilHears(await spoken('All keys were sent.'));
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  });

  it('mute read: the caller hears nothing until unmute', async () => {
    const call = await dial([
      { mute: { direction: 'read' } },
      { say: { text: 'Nobody can hear this sentence.' } },
      { unmute: { direction: 'read' } },
      { say: { text: 'Everybody can hear this one.' } },
    ]);
    const heard = await call.heard.waitUntilHears(await spoken('Everybody can hear this one.'));
    expect(call.heard.silence(0, heard.startMs - 100)).to.equal(true);
    await call.ended();
  });

  it('hold: music instead of prompts until resume', async () => {
    const call = await dial([
      { hold: {} },
      { say: { text: 'This is said while the caller is on hold.' } },
      { resume: {} },
      { say: { text: 'Here we are again.' } },
    ]);
    const back = await call.heard.waitUntilHears(await spoken('Here we are again.'));
    expect(
      call.heard.recognises(await spoken('This is said while the caller is on hold.')).fraction,
    ).to.be.below(0.5);
    expect(call.heard.silence(200, back.startMs - 200)).to.equal(false);
    await call.ended();
  });

  describe('transfer and bridge', () => {
    it('transfer to a SIP URI: ringback, then both hear each other; the callee who hangs up ends it', async () => {
      callee.listen('manual', { sound: () => tone(600) });
      const call = await dial(
        [
          { say: { text: 'Please hold the line.' } },
          { type: 'transfer', destination: callee.uri },
          { say: { text: 'Never heard.' } },
        ],
        { sound: tone(900) },
      );
      const far = await callee.incoming();
      far.ring();
      const prompt = await call.heard.waitUntilHears(await spoken('Please hold the line.'));
      await until(() => call.heard.durationMs > prompt.startMs + 4500, 'some seconds of ringing');
      expect(call.heard.silence(prompt.startMs + 1500), 'ringback').to.equal(false);
      far.answer();
      await call.heard.waitUntilTone(600);
      await far.heard.waitUntilTone(900);
      expect(far.receivedText).to.not.match(/x-mv-/i);
      expect(far.receivedText, "the media node's address").to.not.contain(inside.media);
      expect(far.receivedText).to.match(
        new RegExp(`^From: [^\\r]*<sip:\\+15551230001@${sip.host}:${sip.port}>`, 'm'),
      );
      await far.hangup();
      expect(await call.ended()).to.include({ by: 'remote' });
      const record = await endedCallTo(own);
      expect(record).to.include({ status: 'completed' });
      expect(record.hangup).to.include({ by: 'callee' });
      const kinds = (await timeline(record.id, own.key)).map(({ kind }) => kind);
      expect(kinds).to.include.members(['leg.requested', 'leg.ringing', 'leg.answered', 'leg.ended']);
    });

    it('transfer: the caller who hangs up ends both legs', async () => {
      callee.listen('answer');
      const call = await dial([{ transfer: { to: callee.uri } }]);
      const far = await callee.incoming();
      await call.heard.waitUntilTone(440);
      await call.hangup();
      await far.ended();
      expect((await endedCallTo(own)).hangup).to.include({ by: 'caller' });
    });

    it('keys pass between the connected legs', async () => {
      callee.listen('answer', { sound: () => tone(600) });
      const call = await dial([{ transfer: { destination: callee.uri } }]);
      const far = await callee.incoming();
      await call.heard.waitUntilTone(600);
      await call.press('17#');
      await far.heard.waitUntilKeys('17#');
      await far.hangup();
      await call.ended();
    });

    it('mute write: the other side does not hear the caller, who hears it', async () => {
      callee.listen('answer', { sound: () => tone(600) });
      const call = await dial([{ mute: { direction: 'write' } }, { transfer: { destination: callee.uri } }], {
        sound: tone(900),
      });
      const far = await callee.incoming();
      await call.heard.waitUntilTone(600, 1000);
      expect(far.heard.tone(900)).to.be.below(0.1);
      await call.hangup();
    });

    it('a caller who hangs up while it rings cancels the leg', async () => {
      callee.listen('ring');
      const call = await dial([{ transfer: { destination: callee.uri } }]);
      const far = await callee.incoming();
      await call.hangup();
      expect(await far.ended()).to.include({ how: 'cancel' });
      expect(await endedCallTo(own)).to.include({ status: 'completed' });
    });

    it("a number goes out through the customer's trunk, as the trunk wants it", async () => {
      await done(
        'POST',
        '/v1/trunks',
        { name: 'out', proxy: callee.address, port: callee.port, number_format: 'plus_less', priority: 1 },
        own.key,
      );
      callee.listen('answer', { sound: () => tone(600) });
      const call = await dial([{ transfer: { destination: '+15557654321' } }]);
      const far = await callee.incoming();
      await call.heard.waitUntilTone(600);
      expect(far.invite?.uri).to.match(/^sip:15557654321@/);
      expect(far.receivedText)
        .to.match(/^From: <sip:15551230001@/im)
        .and.match(new RegExp(`^Diversion: <sip:\\${own.number}@`, 'im'));
      await call.hangup();
    });

    it('other actions through the API take a caller out of a connected transfer', async () => {
      callee.listen('answer', { sound: () => tone(600) });
      const call = await dial([{ transfer: { destination: callee.uri } }]);
      const far = await callee.incoming();
      await call.heard.waitUntilTone(600);
      await done(
        'POST',
        `/v1/calls/${(await callTo(own)).id}/actions`,
        { actions: [{ say: { text: 'You are back with us.' } }] },
        own.key,
      );
      await call.heard.waitUntilHears(await spoken('You are back with us.'));
      await far.ended();
      await call.ended();
      expect((await endedCallTo(own)).hangup).to.include({ by: 'application' });
    });
  });

  describe('recording', () => {
    const audioOf = (id: string, key = own.key) => audio(`/v1/recordings/${id}/audio`, key);

    it('start_recording keeps both sides apart, across a transfer, and is completed when the call ends', async () => {
      callee.listen('answer', { sound: () => tone(600) });
      const call = await dial(
        [
          { start_recording: {} },
          { say: { text: 'This call is being recorded.' } },
          { transfer: { destination: callee.uri } },
        ],
        { sound: tone(900) },
      );
      await callee.incoming();
      await call.heard.waitUntilTone(600, 1000);
      await call.hangup();
      const { id } = await endedCallTo(own);
      const completed = await own.server.webhook(id, 'recording.completed');
      const started = await own.server.webhook(id, 'recording.started');
      expect(started.data).to.include({ id: `rec_${id}`, status: 'started' });
      expect(completed.data).to.include({ id: `rec_${id}`, status: 'completed', storage_type: 'local' });
      expect(completed.data.duration_seconds).to.be.greaterThan(2);
      const file = await audioOf(`rec_${id}`);
      const [left, right] = channelsOf(file.body);
      expect(toneShare(left, 900), 'the caller on the left').to.be.greaterThan(0.8);
      expect(toneShare(left, 600)).to.be.below(0.05);
      expect(toneShare(right, 600), 'the callee on the right').to.be.greaterThan(0.1);
      expect(toneShare(right, 900)).to.be.below(0.05);
      const list = await done('GET', `/v1/calls/${id}/recordings`, undefined, own.key);
      expect(list).to.include({ count: 1 });
      expect((await audioOf(`rec_${id}`, (await customer()).key)).status).to.equal(404);
      await done('DELETE', `/v1/recordings/rec_${id}`, undefined, own.key);
      expect((await audioOf(`rec_${id}`)).status).to.equal(404);
    });

    it('is started and stopped through the API while the call goes on', async () => {
      const call = await dial(
        [{ gather: { num_digits: 1, timeout_seconds: 30 } }, { say: { text: 'The recording is over.' } }],
        { sound: tone(900) },
      );
      const { id } = await until(async () => {
        const live = await callTo(own);
        return live.status === 'in_progress' && live;
      }, 'the call to be in progress');
      const control = async (action: string) =>
        ((await done('POST', `/v1/calls/${id}/recordings`, { action }, own.key)).data as { recording: Json })
          .recording;
      expect(await control('start')).to.include({ id: `rec_${id}`, status: 'started', file_url: '' });
      expect(await control('start')).to.include({ id: `rec_${id}` });
      const since = call.heard.durationMs;
      await until(() => call.heard.durationMs > since + 1200, 'more than a second to be recorded');
      expect(await control('stop')).to.include({ id: `rec_${id}` });
      await own.server.webhook(id, 'recording.completed');
      await call.press('1');
      await call.heard.waitUntilHears(await spoken('The recording is over.'));
      await call.ended();
      const [left] = channelsOf((await audioOf(`rec_${id}`)).body);
      expect(toneShare(left, 900)).to.be.greaterThan(0.8);
    });
  });
});
