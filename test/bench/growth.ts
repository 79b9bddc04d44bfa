import { cpus } from 'node:os';
import { growthOfCalls } from './growth/calls.ts';
import { growthOfNumbers } from './growth/dids.ts';
import { say } from './growth/subjects.ts';

/**
 * How cost grows with what is stored: `growth [dids | calls] [--dids 1000,100000] [--calls 300000]`. First
 * with phone numbers at the edge, then with stored calls behind the lists of the API. The rows are inserted
 * by SQL.
 */
const args = process.argv.slice(2);
const option = (name: string, otherwise: string): number[] => {
  const at = args.indexOf(`--${name}`);
  return (at < 0 ? otherwise : (args[at + 1] ?? '')).split(',').map(Number);
};
const part = args.find((arg, i) => !arg.startsWith('--') && !args[i - 1]?.startsWith('--'));

say(`${cpus().length} cores; MariaDB with a pool of 128 MB`);
let missed = 0;
if (part !== 'calls') missed += await growthOfNumbers(option('dids', '1000,100000'));
if (part !== 'dids') for (const total of option('calls', '300000')) missed += await growthOfCalls(total);
if (missed > 0) {
  say(`\n${missed} limits were missed`);
  process.exitCode = 1;
}
