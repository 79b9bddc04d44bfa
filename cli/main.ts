import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { checkArguments, unknownCommand, type Accepts } from './arguments.ts';
import { unknownVariables } from './environment.ts';
import { Failure, sentenceOf } from './failure.ts';
import { REPOSITORY } from './home.ts';

interface Command extends Accepts {
  /** @returns the exit code. */
  run: (args: string[]) => Promise<number>;
}

// Loaded when they are asked for: `status` should not wait for what only `test` needs. help.txt names them
// all; ./minivoice shows that text and the version by itself, before anything is installed.
const COMMANDS: Record<string, Command> = {
  demo: { options: [], run: async () => (await import('./commands/demo.ts')).demo() },
  test: { run: async (args) => (await import('./commands/test.ts')).test(args) },
  up: { options: [], run: async () => (await import('./commands/up.ts')).upCommand() },
  down: { options: [], run: async () => (await import('./commands/down.ts')).down() },
  status: {
    options: ['--json'],
    run: async (args) => (await import('./commands/status.ts')).status(args),
  },
  logs: { options: ['-f'], words: 1, run: async (args) => (await import('./commands/logs.ts')).logs(args) },
  bench: { run: async (args) => (await import('./commands/bench.ts')).bench(args) },
};

async function main(): Promise<number> {
  const [name = '', ...args] = process.argv.slice(2);
  const command = COMMANDS[name];
  if (!command) throw unknownCommand(name, [...Object.keys(COMMANDS), 'help', '--version']);
  if (args.includes('--help') || args.includes('-h')) {
    console.log((await readFile(path.join(REPOSITORY, 'cli/help.txt'), 'utf8')).trimEnd());
    return 0;
  }
  checkArguments(name, args, command);
  for (const sentence of unknownVariables(process.env)) console.error(sentence);
  return command.run(args);
}

try {
  process.exitCode = await main();
} catch (error) {
  const sentence = sentenceOf(error);
  if (sentence === undefined) throw error;
  if (error instanceof Failure && error.log) console.error(error.log.replaceAll(/^/gm, '  | '));
  console.error(sentence);
  process.exitCode = 1;
}
