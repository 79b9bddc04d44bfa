import { readFileSync } from 'node:fs';
import type { Call } from '../../../support/call.ts';
import type { Heard } from '../../../../cli/phone/ear.ts';
import type { Phone } from '../../../support/phone.ts';
import { tone } from '../../../../cli/phone/sound.ts';
import type { EslClient } from './esl-client.ts';
import type { NodeProcess } from './node-process.ts';

/** A phone's call that the node has answered. */
export interface Talk {
  call: Call;
  uuid: string;
}

let calls = 0;

/** Calls the node and has the call answered; the caller says a tone. */
export async function talk(
  node: NodeProcess,
  esl: EslClient,
  phone: Phone,
  frequency: number,
  codecs: ('PCMU' | 'PCMA')[] = ['PCMU', 'PCMA'],
): Promise<Talk> {
  const id = `call_talk_${++calls}`;
  const call = await phone.call({
    to: '+4915112345',
    from: '+4930111',
    via: { host: '127.0.0.1', port: node.sipPort },
    codecs,
    sound: tone(frequency),
    headers: [['X-MV-Call-ID', id]],
  });
  const uuid = (await esl.event('CHANNEL_PARK', { 'variable_sip_h_X-MV-Call-ID': id }))['Unique-ID'] ?? '';
  await esl.api(`uuid_answer ${uuid}`);
  await call.answered();
  await call.heard.until(() => call.heard.packets > 2 || undefined, 'audio');
  return { call, uuid };
}

/** Resolves when nothing has sounded for a while. */
export async function untilSilent(heard: Heard, forMs = 300): Promise<void> {
  await heard.until(
    () => (heard.durationMs >= forMs && heard.silence(heard.durationMs - forMs)) || undefined,
    'silence',
  );
}

/** The two channels of a stereo WAV file; fails when it is none at 8 kHz and 16 bit, or its header lies. */
export function readStereo(path: string): { left: number[]; right: number[] } {
  const file = readFileSync(path);
  const head = [
    file.toString('latin1', 0, 4),
    file.readUInt16LE(22),
    file.readUInt32LE(24),
    file.readUInt16LE(34),
    file.readUInt32LE(40),
    file.readUInt32LE(4),
  ];
  const wanted = ['RIFF', 2, 8000, 16, file.length - 44, file.length - 8];
  if (JSON.stringify(head) !== JSON.stringify(wanted))
    throw new Error(
      `not the header of this file: ${JSON.stringify(head)}, expected ${JSON.stringify(wanted)}`,
    );
  const left: number[] = [];
  const right: number[] = [];
  for (let at = 44; at + 4 <= file.length; at += 4) {
    left.push(file.readInt16LE(at));
    right.push(file.readInt16LE(at + 2));
  }
  return { left, right };
}
