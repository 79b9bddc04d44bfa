import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseDialString, headersOf } from '../../../freeswitch/embedded/channel/dial-string.ts';
import { Room } from '../../../freeswitch/embedded/conference/room.ts';
import type { Channel } from '../../../freeswitch/embedded/channel/channel.ts';
import { generateTones } from '../../../freeswitch/embedded/media/tones.ts';
import { WavWriter } from '../../../freeswitch/embedded/media/wav-writer.ts';
import { decode, encode, transcodeInto, type G711 } from '../../../freeswitch/embedded/rtp/g711.ts';

describe('embedded: mixing', () => {
  /** As much of a channel as a room needs: it says the same sample all the time. */
  const channel = (sample: number, law: G711 = 'PCMU'): Channel => {
    const said = encode(law, new Int16Array(160).fill(sample));
    return { audio: { law, frame: 1, said: () => said } } as unknown as Channel;
  };
  const options = { mute: false, endsRoom: false, music: undefined, onOut: () => {} };
  const level = (law: G711, member: { read(target: Buffer, offset: number): number }): number => {
    const target = Buffer.alloc(172);
    expect(member.read(target, 12)).to.equal(160);
    return decode(law, target.subarray(12))[80] ?? 0;
  };

  it('gives everybody the sum of the others, in his own law', () => {
    const room = new Room('r', () => {});
    const a = room.enter(channel(1000), options);
    const b = room.enter(channel(2000, 'PCMA'), options);
    const c = room.enter(channel(4000), options);
    expect(level('PCMU', a)).to.be.closeTo(6000, 300);
    expect(level('PCMA', b)).to.be.closeTo(5000, 300);
    expect(level('PCMU', c)).to.be.closeTo(3000, 200);
  });

  it('does not overflow when all shout', () => {
    const room = new Room('r', () => {});
    const members = Array.from({ length: 5 }, () => room.enter(channel(30_000), options));
    for (const member of members) expect(level('PCMU', member)).to.be.above(30_000);
  });

  it('numbers members from 1, with the lowest that is free, and is empty once', () => {
    let empty = 0;
    const room = new Room('r', () => empty++);
    const out: number[] = [];
    const enter = (endsRoom = false): ReturnType<Room['enter']> => {
      const member = room.enter(channel(1), { ...options, endsRoom, onOut: () => out.push(member.id) });
      return member;
    };
    const [first, second] = [enter(), enter(), enter(true)];
    if (second) room.leave(second);
    const again = enter(true);
    expect(again.id).to.equal(2);
    room.leave(again);
    room.leave(again);
    if (first) room.leave(first);
    expect(out).to.deep.equal([2, 2, 3, 1]);
    expect([empty, room.size]).to.deep.equal([1, 0]);
  });

  it('turns one law into the other', () => {
    const samples = Int16Array.from({ length: 160 }, (_, i) => Math.round(20_000 * Math.sin(i / 5)));
    for (const [from, to] of [
      ['PCMU', 'PCMA'],
      ['PCMA', 'PCMU'],
      ['PCMU', 'PCMU'],
    ] as const) {
      const target = Buffer.alloc(170);
      transcodeInto(from, encode(from, samples), to, target, 10);
      const result = decode(to, target.subarray(10));
      for (const [i, sample] of samples.entries())
        expect(result[i]).to.be.closeTo(sample, 80 + Math.abs(sample) / 10);
    }
  });
});

describe('embedded: files that are written', () => {
  it('hold what was put in, with a header that is right', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'embedded-wav-'));
    const path = join(folder, 'deep', 'er', 'a.wav');
    const writer = await WavWriter.create(path, 2);
    for (let i = 0; i < 130; i++) writer.add(new Int16Array(320).fill(i));
    const written = await writer.close();
    writer.add(new Int16Array(320));
    expect(await writer.close()).to.equal(written);
    const file = readFileSync(path);
    expect(written).to.deep.equal({ samples: 130 * 160, bytes: 44 + 130 * 640 });
    expect([file.length, file.readUInt32LE(4), file.readUInt32LE(40)]).to.deep.equal([
      44 + 130 * 640,
      36 + 130 * 640,
      130 * 640,
    ]);
    for (let i = 0; i < 130; i++) expect(file.readInt16LE(44 + i * 640 + 638)).to.equal(i);
    rmSync(folder, { recursive: true });
  });

  it('fail at once where none can be made', async () => {
    for (const path of ['/proc/none/a.wav', '/dev/null/a.wav']) {
      expect(
        await WavWriter.create(path, 1).then(
          () => undefined,
          (error: unknown) => error,
        ),
      ).to.be.instanceOf(Error);
    }
  });
});

describe('embedded: dial strings', () => {
  it('hold variables behind a separator of their own, and headers among them', () => {
    const dial = parseDialString(
      '{^^~origination_uuid=u~sip_h_X-MV-Targets=sip:a@[::1]:5060;transport=tcp;a=b|sip:b,c@h?x=%7D~sip_h_Bad Name=1}sofia/minivoice/leg@127.0.0.1:5060',
    );
    if ('cause' in dial) throw new Error(dial.cause);
    expect(dial.uri).to.equal('sip:leg@127.0.0.1:5060');
    expect(dial.peer).to.deep.equal({ transport: 'udp', address: '127.0.0.1', port: 5060 });
    expect(headersOf(dial.variables)).to.deep.equal([
      ['X-MV-Targets', 'sip:a@[::1]:5060;transport=tcp;a=b|sip:b,c@h?x=%7D'],
    ]);
    expect(dial.variables.get('origination_uuid')).to.equal('u');
  });

  it('may have commas, or no variables, or a name for an address', () => {
    const dial = parseDialString('{a=1,b=2}sofia/minivoice/sip:x@kamailio;transport=tcp');
    expect(dial).to.deep.include({
      uri: 'sip:x@kamailio;transport=tcp',
      peer: { transport: 'tcp', address: 'kamailio', port: 5060 },
    });
    expect(parseDialString('sofia/minivoice/x@h:1')).to.have.property('uri', 'sip:x@h:1');
  });

  it('that call nobody have a cause', () => {
    const causes = [
      '',
      '{a=1',
      'user/1',
      'sofia/external/x@h',
      'sofia/minivoice/x@h:99999',
      'sofia/minivoice/',
      'sofia/minivoice/tel:+1',
    ].map((text) => parseDialString(text));
    expect(causes.map((dial) => ('cause' in dial ? dial.cause : ''))).to.deep.equal([
      'DESTINATION_OUT_OF_ORDER',
      'DESTINATION_OUT_OF_ORDER',
      'DESTINATION_OUT_OF_ORDER',
      'INVALID_PROFILE',
      'INVALID_URL',
      'DESTINATION_OUT_OF_ORDER',
      'INVALID_URL',
    ]);
  });
});

describe('embedded: tones', () => {
  it('are as loud as they are told to be', () => {
    const loudest = (script: string): number => Math.max(...(generateTones(script)?.samples ?? []));
    expect(loudest('v=-22;%(100,0,400)')).to.be.closeTo(2600, 50);
    expect(loudest('%(100,0,400)')).to.be.closeTo(6000, 10);
  });
});
