import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Heard } from '../../../cli/phone/ear.ts';
import { Phone } from '../../support/phone.ts';
import { EslClient, type FsEvent } from './tools/esl-client.ts';
import { NodeProcess } from './tools/node-process.ts';
import { share } from './tools/sound.ts';
import { readStereo, talk, untilSilent, type Talk } from './tools/talk.ts';

describe('embedded media node: conference', () => {
  let node: NodeProcess;
  let esl: EslClient;
  let phone: Phone;
  let room = '';

  before(async () => {
    node = await NodeProcess.start();
    esl = await EslClient.connect(
      node.eslPort,
      'CHANNEL_PARK CHANNEL_EXECUTE_COMPLETE CHANNEL_HANGUP_COMPLETE DTMF',
    );
    phone = await Phone.open({ address: '127.0.0.1' });
  });

  after(async () => {
    await phone.close();
    esl.close();
    await node.stop();
    expect(node.log).not.to.include('"level":"error"');
  });

  beforeEach(() => {
    room = `room.${randomUUID()}`;
  });

  afterEach(async () => {
    await esl.api('hupall');
    expect(await esl.api('conference list')).to.equal('+OK No active conferences.\n');
  });

  /** Enters the room; resolves with the way to wait for the end of it. */
  const enter = async ({ uuid }: Talk, flags = ''): Promise<() => Promise<FsEvent>> => {
    const id = randomUUID();
    await esl.execute(uuid, 'conference', `${room}@default${flags ? `+flags{${flags}}` : ''}`, id);
    const waited = Date.now() + 5_000;
    while (!(await esl.api(`conference ${room} list`)).includes(uuid))
      if (Date.now() > waited) throw new Error('not in the room');
    return () => esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': id });
  };

  /** Somebody plays to the caller: he takes commands again. */
  const commandsRun = async ({ call, uuid }: Talk): Promise<void> => {
    const id = randomUUID();
    await esl.execute(uuid, 'playback', 'tone_stream://%(500,0,2000)', id);
    await call.heard.waitUntilTone(2000);
    await esl.event('CHANNEL_EXECUTE_COMPLETE', { 'Application-UUID': id });
  };

  /** Resolves when all these tones are in the last 400 ms, each a good part of it, and these are not. */
  const hears = (heard: Heard, there: number[], absent: number[]): Promise<true> =>
    heard.until(
      () => {
        if (heard.durationMs < 400) return undefined;
        const pcm = [...heard.pcm(heard.durationMs - 400)];
        const parts = (frequency: number): number => share(pcm, frequency);
        return (
          (there.every((f) => parts(f) > 0.6 / there.length) && absent.every((f) => parts(f) < 0.01)) ||
          undefined
        );
      },
      `${there.join(' and ')} without ${absent.join(' and ')}`,
    );

  it('plays music to one who is alone, and lets everybody hear the others and not himself', async () => {
    const anna = await talk(node, esl, phone, 440);
    const bob = await talk(node, esl, phone, 1000, ['PCMA']);
    const carl = await talk(node, esl, phone, 600);
    const annaOut = await enter(anna);
    await anna.call.heard.until(
      () => anna.call.heard.loudest(anna.call.heard.durationMs - 300) > 300 || undefined,
      'music',
    );
    await enter(bob);
    await Promise.all([
      hears(anna.call.heard, [1000], [440, 262, 330]),
      hears(bob.call.heard, [440], [1000]),
    ]);
    await enter(carl);
    await Promise.all([
      hears(anna.call.heard, [1000, 600], [440]),
      hears(bob.call.heard, [440, 600], [1000]),
      hears(carl.call.heard, [440, 1000], [600]),
    ]);
    const lines = (await esl.api(`conference ${room} list`))
      .trim()
      .split('\n')
      .map((line) => line.split(';'));
    expect(lines.map((fields) => [fields[0], fields[2]])).to.deep.equal([
      ['3', carl.uuid],
      ['2', bob.uuid],
      ['1', anna.uuid],
    ]);
    expect(await esl.api(`conference ${room} hup 2`)).to.equal('+OK hup 2\n');
    expect(await esl.api(`conference ${room} hup 2`)).to.equal('-ERR Non-Existant ID 2\n');
    await commandsRun(bob);
    await hears(anna.call.heard, [600], [440, 1000]);
    await anna.call.press('5');
    await esl.event('DTMF', { 'Unique-ID': anna.uuid, 'DTMF-Digit': '5' });
    await esl.api(`uuid_send_dtmf ${anna.uuid} 12@120`);
    await anna.call.heard.waitUntilKeys('12');
    await carl.call.hangup();
    await anna.call.heard.until(
      () => anna.call.heard.loudest(anna.call.heard.durationMs - 300) < 1500 || undefined,
      'music again',
    );
    await esl.api(`conference ${room} kick all`);
    expect((await annaOut())['Answer-State']).to.equal('answered');
    expect(await esl.api(`conference ${room} list`)).to.equal(`-ERR Conference ${room} not found\n`);
  });

  it('lets a muted member listen only, and mutes and holds members', async () => {
    const anna = await talk(node, esl, phone, 440);
    const bob = await talk(node, esl, phone, 1000);
    await enter(anna);
    await enter(bob, 'mute');
    await Promise.all([untilSilent(anna.call.heard), hears(bob.call.heard, [440], [1000])]);
    expect(await esl.api(`conference ${room} list`)).to.match(/;hear;0;0;100\n/);
    await esl.api(`uuid_audio ${anna.uuid} start read mute 1`);
    await untilSilent(bob.call.heard);
    await esl.api(`uuid_audio ${anna.uuid} start read mute 0`);
    await hears(bob.call.heard, [440], []);
    const music = await esl.api(`uuid_getvar ${anna.uuid} hold_music`);
    await esl.api(`uuid_displace ${anna.uuid} start ${music} 0 l`);
    await Promise.all([
      untilSilent(bob.call.heard),
      anna.call.heard.until(
        () => anna.call.heard.loudest(anna.call.heard.durationMs - 300) > 300 || undefined,
        'music',
      ),
    ]);
    await esl.api(`uuid_displace ${anna.uuid} stop ${music}`);
    await hears(bob.call.heard, [440], []);
  });

  for (const way of ['BYE', 'hup', 'kill'] as const) {
    it(`ends with a member who ends it, by ${way}; the others go on`, async () => {
      const anna = await talk(node, esl, phone, 440);
      const bob = await talk(node, esl, phone, 1000);
      const bobOut = await enter(bob);
      const annaOut = await enter(anna, 'mute|endconf');
      if (way === 'BYE') await anna.call.hangup();
      else if (way === 'kill') await esl.api(`uuid_kill ${anna.uuid} NORMAL_CLEARING`);
      else await esl.api(`conference ${room} hup 2`);
      expect((await annaOut())['Answer-State']).to.equal(way === 'hup' ? 'answered' : 'hangup');
      expect((await bobOut())['Answer-State']).to.equal('answered');
      await commandsRun(bob);
    });
  }

  it('records a member and what he hears', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'embedded-room-'));
    const path = join(folder, 'member.wav');
    const anna = await talk(node, esl, phone, 440);
    const bob = await talk(node, esl, phone, 1000);
    await enter(anna);
    await enter(bob);
    await hears(anna.call.heard, [1000], [440]);
    await esl.api(`uuid_setvar ${anna.uuid} RECORD_STEREO true`);
    await esl.api(`uuid_record ${anna.uuid} start ${path}`);
    const from = anna.call.heard.packets;
    await anna.call.heard.until(() => anna.call.heard.packets > from + 100 || undefined, 'more');
    await esl.api(`uuid_record ${anna.uuid} stop ${path}`);
    const { left, right } = readStereo(path);
    expect([share(left, 440), share(right, 1000)].every((part) => part > 0.9)).to.equal(true);
    rmSync(folder, { recursive: true });
  });

  it('knows no room that is not there, and no other command', async () => {
    const anna = await talk(node, esl, phone, 440);
    await enter(anna);
    expect(await esl.api('conference nosuch hup 1')).to.equal('-ERR Conference nosuch not found\n');
    expect(await esl.api(`conference ${room} nosuch`)).to.equal(
      "-ERR Conference command 'nosuch' not found.\n",
    );
    // Neither a break nor a key gets anybody out of a room.
    await esl.api(`uuid_break ${anna.uuid} all`);
    expect(await esl.api(`conference ${room} list`)).to.include(anna.uuid);
  });
});
