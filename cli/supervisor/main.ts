import { readFile } from 'node:fs/promises';
import { homeAt } from '../home.ts';
import type { Settings } from '../settings.ts';
import { Supervisor } from './supervisor.ts';

// Started in the background by `minivoice up` with the instance's home; its own output goes to
// logs/supervisor.log.
const home = homeAt(process.argv[2] ?? '');
const settings = JSON.parse(await readFile(home.config, 'utf8')) as Settings;
const supervisor = new Supervisor(home, settings, () => process.exit(0));
process.title = `minivoice ${home.root}`;
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void supervisor.end());
process.on('SIGHUP', () => undefined);
process.on('uncaughtException', (error) => {
  console.error(error);
  void supervisor.end();
});
await supervisor.run().catch((error: Error) => {
  console.error(`${new Date().toISOString()} ${error.message}`);
  process.exit(1);
});
