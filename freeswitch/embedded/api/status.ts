import type { Node } from './node.ts';

/** The version whose behaviour this node has; clients read it from `status` and `version`. */
const VERSION = '1.10.12-release';
const HUMAN = `${VERSION} embedded 64bit`;
export const VERSION_SHORT = VERSION;
export const VERSION_FULL = `FreeSWITCH Version ${VERSION}+embedded (${HUMAN})`;

/** `0 years, 0 days, 0 hours, 1 minute, …` of a time in microseconds. */
export function durationText(micros: number): string {
  const units: [string, number][] = [
    ['year', 365 * 86_400e6],
    ['day', 86_400e6],
    ['hour', 3_600e6],
    ['minute', 60e6],
    ['second', 1e6],
    ['millisecond', 1e3],
    ['microsecond', 1],
  ];
  let rest = Math.floor(micros);
  return units
    .map(([name, size]) => {
      const count = Math.floor(rest / size);
      rest -= count * size;
      return `${count} ${name}${count === 1 ? '' : 's'}`;
    })
    .join(', ');
}

export function statusText(node: Node): string {
  const { load } = node;
  return [
    `UP ${durationText(node.uptimeMicros)}`,
    `FreeSWITCH (Version ${HUMAN}) is ${node.stopping ? 'not ready' : 'ready'}`,
    `${load.sinceStartup} session(s) since startup`,
    `${node.channels.size} session(s) - peak ${load.peak}, last 5min ${load.peakFiveMinutes} `,
    `${load.lastSecond} session(s) per Sec out of max ${node.maxSessions}, peak ${load.peakPerSecond}, last 5min ${load.peakPerSecondFiveMinutes} `,
    `${node.maxSessions} session(s) max`,
    'min idle cpu 0.00/100.00',
    'Current Stack Size/Max 240K/8192K',
    '',
  ].join('\n');
}

export function uptime(node: Node, unit: string): string {
  const scales: Readonly<Record<string, number>> = {
    '': 1e6,
    s: 1e6,
    seconds: 1e6,
    ms: 1e3,
    milliseconds: 1e3,
    us: 1,
    microseconds: 1,
    m: 60e6,
    minutes: 60e6,
    h: 3_600e6,
    hours: 3_600e6,
    d: 86_400e6,
    days: 86_400e6,
  };
  const scale = Object.hasOwn(scales, unit.toLowerCase()) ? scales[unit.toLowerCase()] : undefined;
  return scale === undefined
    ? '-USAGE: [us|ms|s|m|h|d|microseconds|milliseconds|seconds|minutes|hours|days]\n'
    : `${Math.floor(node.uptimeMicros / scale)}\n`;
}
