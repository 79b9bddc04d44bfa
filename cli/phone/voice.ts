import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { readWav, toTelephone } from './wav.ts';

const run = promisify(execFile);
const spokenBefore = new Map<string, Promise<Int16Array>>();

/**
 * What a caller should hear for this text: espeak-ng asked directly and resampled here, at 8 kHz. The
 * platform's own speech synthesis has no part in it, so that a prompt with other words, or cut, is noticed.
 * @throws Error when espeak-ng cannot be run.
 */
export function spoken(
  text: string,
  voice = 'en',
  command = process.env.SPEECH_COMMAND ?? 'espeak-ng',
): Promise<Int16Array> {
  const key = `${command} ${voice} ${text}`;
  const known = spokenBefore.get(key);
  if (known) return known;
  const sound = run(command, ['-v', voice, '--stdout', '--', text], {
    encoding: 'buffer',
    maxBuffer: 64 * 1024 * 1024,
  }).then(({ stdout }) => toTelephone(readWav(stdout)));
  spokenBefore.set(key, sound);
  return sound;
}
