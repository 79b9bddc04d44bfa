import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { Failure } from '../failure.ts';
import { REPOSITORY } from '../home.ts';
import { databaseFrom, mediaFrom } from '../settings.ts';
import { setUp } from '../setup/index.ts';
import { step } from '../steps.ts';
import { environmentFor, privateInstance, type PrivateInstance } from '../testing/private-instance.ts';
import { foreground } from '../testing/suites.ts';

/** Runs test/bench/<name>.ts beside a whole instance of its own; what it prints is the result. */
export async function bench(args: string[]): Promise<number> {
  const [name, ...options] = args;
  const names = (await readdir(path.join(REPOSITORY, 'test/bench')).catch(() => []))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -3));
  if (!name || !names.includes(name))
    throw new Failure(`The benchmarks are: ${names.join(', ') || 'none yet'}.`);
  const database = databaseFrom(process.env);
  const tools = await setUp({ mysql: database === 'mysql' });
  let instance: PrivateInstance | undefined;
  await step(
    'An instance of its own',
    async () => {
      instance = await privateInstance(tools, { media: await mediaFrom(process.env), database });
    },
    { long: true },
  );
  try {
    return await foreground(
      ['--import', 'tsx', path.join(REPOSITORY, 'test/bench', `${name}.ts`), ...options],
      environmentFor(tools, instance),
    );
  } finally {
    await instance?.end();
  }
}
