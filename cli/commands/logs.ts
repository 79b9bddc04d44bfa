import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { Failure } from '../failure.ts';
import { defaultHome } from '../home.ts';

const LINES = 200;

/**
 * When a line was written: the time before it, or the one inside its JSON. Lines without one stay with the
 * line before.
 */
export function timeOf(line: string): string | undefined {
  return /^(\d{4}-\d\d-\d\dT[\d:.]+Z) /.exec(line)?.[1] ?? /^\{.*?"time":"([^"]+)"/.exec(line)?.[1];
}

/** The lines of several logs in the order in which they were written, each after its log's name. */
export function merge(logs: { name: string; lines: string[] }[]): string[] {
  const width = Math.max(0, ...logs.map((log) => log.name.length));
  const all = logs.flatMap(({ name, lines }) => {
    let time = '';
    return lines.map((line) => {
      time = timeOf(line) ?? time;
      return { time, text: `${name.padEnd(width)}  ${line}` };
    });
  });
  return all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).map((line) => line.text);
}

export async function logs(args: string[]): Promise<number> {
  const follow = args.includes('-f');
  const wanted = args.find((arg) => !arg.startsWith('-'));
  const folder = defaultHome().logs;
  const names = (await readdir(folder).catch(() => []))
    .filter((file) => file.endsWith('.log'))
    .map((file) => file.slice(0, -4));
  if (names.length === 0) throw new Failure('There are no logs yet: ./minivoice up starts everything.');
  if (wanted && !names.includes(wanted))
    throw new Failure(`There is no log of ${JSON.stringify(wanted)}, but of ${names.join(', ')}.`);
  const files = (wanted ? [wanted] : names).map((name) => path.join(folder, `${name}.log`));
  if (follow) {
    const tail = spawn('tail', ['-n', '20', '-F', ...files], { stdio: ['ignore', 'inherit', 'inherit'] });
    return new Promise((resolve) => tail.on('close', (code) => resolve(code ?? 0)));
  }
  const read = await Promise.all(
    files.map(async (file) => ({
      name: path.basename(file, '.log'),
      lines: (await readFile(file, 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .slice(-LINES),
    })),
  );
  const [only] = read;
  console.log((wanted && only ? only.lines : merge(read)).slice(-LINES).join('\n'));
  return 0;
}
