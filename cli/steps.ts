import { performance } from 'node:perf_hooks';

const color = process.stdout.isTTY
  ? { ok: '\x1b[32m', bad: '\x1b[31m', dim: '\x1b[2m', off: '\x1b[0m' }
  : { ok: '', bad: '', dim: '', off: '' };

/** Takes text for people, with its line ends. */
export type Say = (text: string) => void;

export const aloud: Say = (text) => void process.stdout.write(text);

/** `950 ms` would be one more unit to read: seconds with one digit everywhere. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const line = (mark: string, title: string, since: number): string =>
  `${mark} ${title.padEnd(58)} ${color.dim}${seconds(performance.now() - since).padStart(7)}${color.off}`;

/**
 * Shows a step while it works and its time when it is done. On a terminal the line is redrawn; elsewhere one
 * line is printed at the end, and one at the start of a step that is known to take long.
 * @param work may return another title, for what was found out while working.
 * @param options.say where lines go to instead, when others are on the terminal too
 */
export async function step(
  title: string,
  work: () => Promise<string | void>,
  options: { long?: boolean; say?: Say | undefined } = {},
): Promise<void> {
  const since = performance.now();
  const { say = aloud } = options;
  const draw = (): void => void process.stdout.write(`\r\x1b[K${line('…', title, since)}`);
  let timer: NodeJS.Timeout | undefined;
  if (process.stdout.isTTY && !options.say) {
    draw();
    timer = setInterval(draw, 100);
  } else if (options.long) {
    say(`… ${title}\n`);
  }
  const end = (mark: string, text: string): void => {
    clearInterval(timer);
    if (timer) process.stdout.write('\r\x1b[K');
    say(`${line(mark, text, since)}\n`);
  };
  try {
    end(`${color.ok}✓${color.off}`, (await work()) ?? title);
  } catch (error) {
    end(`${color.bad}✗${color.off}`, title);
    throw error;
  }
}
