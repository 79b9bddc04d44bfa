import { expect } from 'chai';
import { PROMPTS, startConferenceRoom } from '../../examples/conference-room/server.ts';
import { hearsMusic, hearsNothing, hearsTone } from '../support/hears.ts';
import type { Call, Phone } from '../support/phone.ts';
import { tone } from '../../cli/phone/sound.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { byCaller, callFrom } from './conference-calls.ts';
import { crash, done, endedCallTo, pidOf, ready, sip, timeline, until, type Tenant } from './platform.ts';
import { closing, customer, stage } from './stage.ts';

const [ANNA, BERT, CARL] = ['+15551230001', '+15551230002', '+15551230003'];

describe('the conference action', () => {
  let phone: Phone;
  let own: Tenant;

  beforeEach(async () => void ({ phone, own } = await stage()));

  const dial = async (from: string, frequency: number, to: Tenant = own): Promise<Call> => {
    const call = await phone.call({ to: to.number, from, via: sip, sound: tone(frequency) });
    await call.answered();
    return call;
  };
  const conferenceEnd = async (callId: string) =>
    (await timeline(callId, own.key)).find(
      ({ kind, action }) => kind === 'action.ended' && action === 'conference',
    );

  it('has music for one, and two hear each other; who stays has music again', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }],
      [BERT]: [{ type: 'conference', room: 'team' }],
    });
    const anna = await dial(ANNA, 600);
    await hearsMusic(anna);
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await bert.hangup();
    await hearsMusic(anna);
    await anna.hangup();
    for (const from of [ANNA, BERT]) {
      const record = await until(async () => {
        const found = await callFrom(own, from);
        return found.status === 'completed' && found;
      }, `the end of ${from}`);
      expect(record.hangup).to.include({ by: 'caller' });
      const kinds = (await timeline(record.id, own.key)).map(({ kind }) => kind);
      expect(kinds).to.include('conference.entered');
      expect(await conferenceEnd(record.id)).to.include({ result: 'hangup' });
    }
  });

  it('a muted member hears the others, and nobody hears him', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }],
      [BERT]: [{ conference: { room: 'team', mute: true } }],
    });
    const anna = await dial(ANNA, 600);
    await hearsMusic(anna);
    const bert = await dial(BERT, 1000);
    await hearsTone(bert, 600);
    await hearsNothing(anna, 1000);
    await bert.hangup();
    await anna.hangup();
  });

  it('when somebody leaves whose going ends the room, the others hear their next action', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }, { say: { text: 'The meeting is over.' } }],
      [BERT]: [{ conference: { room: 'team', end_on_exit: true } }],
    });
    const anna = await dial(ANNA, 600);
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await bert.hangup();
    await anna.heard.waitUntilHears(await spoken('The meeting is over.'));
    await anna.ended();
    const record = await until(async () => {
      const found = await callFrom(own, ANNA);
      return found.status === 'completed' && found;
    }, 'the end of the call');
    expect(record.hangup).to.include({ by: 'application' });
    expect(await conferenceEnd(record.id)).to.include({ result: 'ok', ended: 'room_ended' });
  });

  it('two applications with the same room name never meet', async () => {
    const other = await customer();
    byCaller(own, { [ANNA]: [{ conference: { room: 'team' } }] });
    byCaller(other, { [BERT]: [{ conference: { room: 'team' } }] });
    const anna = await dial(ANNA, 600);
    const bert = await dial(BERT, 1000, other);
    await Promise.all([hearsMusic(anna), hearsMusic(bert)]);
    await anna.hangup();
    await bert.hangup();
  });

  it('other actions through the API take a member out, and the others stay', async () => {
    byCaller(
      own,
      Object.fromEntries(
        [ANNA, BERT, CARL].map((from) => [
          from,
          [{ conference: { room: 'team' } }, { say: { text: 'Never heard.' } }],
        ]),
      ),
    );
    const anna = await dial(ANNA, 600);
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    const { id } = await callFrom(own, ANNA);
    await done(
      'POST',
      `/v1/calls/${id}/actions`,
      { actions: [{ say: { text: 'You were taken out of the room.' } }] },
      own.key,
    );
    await Promise.all([
      anna.heard.waitUntilHears(await spoken('You were taken out of the room.')),
      hearsMusic(bert),
    ]);
    await anna.ended();
    expect(await conferenceEnd(id)).to.include({ result: 'replaced', ended: 'left' });
    await bert.hangup();
  });

  it('the control plane dies while they talk: they go on, newcomers find them, and the end is told', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }, { say: { text: 'The meeting is over.' } }],
      [BERT]: [{ conference: { room: 'team', end_on_exit: true } }],
      [CARL]: [{ conference: { room: 'team' } }],
    });
    const anna = await dial(ANNA, 600);
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await crash('control');
    await ready();
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    const carl = await dial(CARL, 1400);
    await until(() => carl.heard.loudest(carl.heard.durationMs - 200) > 7000, 'both others');
    await carl.hangup();
    await hearsTone(anna, 1000);
    await bert.hangup();
    await anna.heard.waitUntilHears(await spoken('The meeting is over.'));
    await anna.ended();
    const { id } = await until(async () => {
      const found = await callFrom(own, ANNA);
      return found.status === 'completed' && found;
    }, 'the end of the call');
    expect(await conferenceEnd(id)).to.include({ ended: 'room_ended' });
  }).timeout(60_000);

  it('a room that ends while the control plane is dead: the next life goes on with the next action', async () => {
    byCaller(own, {
      [ANNA]: [{ conference: { room: 'team' } }, { say: { text: 'The meeting is over.' } }],
      [BERT]: [{ conference: { room: 'team', end_on_exit: true } }],
    });
    const anna = await dial(ANNA, 600);
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    process.kill(await pidOf('control'), 'SIGKILL');
    await bert.hangup();
    await anna.heard.waitUntilHears(await spoken('The meeting is over.'), { timeoutMs: 30_000 });
    await anna.ended();
    await ready();
  }).timeout(60_000);

  it('the example: a guest and the host meet by keys, and the meeting is over when the host leaves', async () => {
    const there = await customer({ webhook_secret: 'of-the-example' });
    const server = closing(await startConferenceRoom({ secret: 'of-the-example', hostPin: '4711' }));
    await done(
      'PATCH',
      `/v1/applications/${there.applicationId}`,
      { answer_url: `${server.url}/answer` },
      there.key,
    );
    const [guest, host] = [await dial(ANNA, 600, there), await dial(BERT, 1000, there)];
    const enters = async (call: Call, keys: string, heard: string): Promise<void> => {
      await call.heard.waitUntilHears(await spoken(PROMPTS.room), { fraction: 0.3 });
      await call.press('1234');
      await call.heard.waitUntilHears(await spoken(PROMPTS.role), { fraction: 0.3 });
      await call.press(keys);
      await call.heard.waitUntilHears(await spoken(heard));
    };
    await Promise.all([enters(guest, '1', PROMPTS.guest), enters(host, '4711', PROMPTS.host)]);
    await Promise.all([hearsTone(guest, 1000), hearsTone(host, 600)]);
    await host.hangup();
    await guest.heard.waitUntilHears(await spoken(PROMPTS.over));
    await guest.ended();
  }).timeout(60_000);

  it('Redis dies while they talk: they go on, and others find the room', async () => {
    byCaller(
      own,
      Object.fromEntries([ANNA, BERT, CARL].map((from) => [from, [{ conference: { room: 'team' } }]])),
    );
    const anna = await dial(ANNA, 600);
    await hearsMusic(anna);
    await crash('redis');
    const bert = await dial(BERT, 1000);
    await Promise.all([hearsTone(anna, 1000), hearsTone(bert, 600)]);
    await anna.hangup();
    await bert.hangup();
    await ready();
    expect((await endedCallTo(own)).status).to.equal('completed');
  }).timeout(60_000);
});
