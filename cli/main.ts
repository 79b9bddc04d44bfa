import { Failure } from './failure.ts';

interface Command {
  usage: string;
  what: string;
  /** @returns the exit code. */
  run: (args: string[]) => Promise<number>;
}

// Loaded when they are asked for: `status` should not wait for what only `test` needs.
const COMMANDS: Record<string, Command> = {
  demo: {
    usage: 'demo',
    what: 'set up what is missing, start everything, place a call and print its story',
    run: async () => (await import('./commands/demo.ts')).demo(),
  },
  test: {
    usage: 'test [unit|integration|e2e]',
    what: 'set up what is missing and run the tests, on instances of their own',
    run: async (args) => (await import('./commands/test.ts')).test(args),
  },
  up: {
    usage: 'up',
    what: 'start everything in the background; return when it is ready',
    run: async () => (await import('./commands/up.ts')).upCommand(),
  },
  down: {
    usage: 'down',
    what: 'stop everything',
    run: async () => (await import('./commands/down.ts')).down(),
  },
  status: {
    usage: 'status [--json]',
    what: 'what runs, its versions and health',
    run: async (args) => (await import('./commands/status.ts')).status(args),
  },
  logs: {
    usage: 'logs [component] [-f]',
    what: 'what the parts said last; -f goes on',
    run: async (args) => (await import('./commands/logs.ts')).logs(args),
  },
  bench: {
    usage: 'bench <name>',
    what: 'run a benchmark of test/bench on an instance of its own',
    run: async (args) => (await import('./commands/bench.ts')).bench(args),
  },
};

function help(): string {
  const rows = Object.values(COMMANDS).map(
    (command) => `  ./minivoice ${command.usage.padEnd(30)} ${command.what}`,
  );
  return [
    'MiniVoice: an open voice platform a company runs itself.',
    '',
    ...rows,
    '',
    'Environment:',
    '  MINIVOICE_HOME        where the state lives (.minivoice)',
    '  MINIVOICE_PORT_BASE   ports from here on instead of 8080, 5060 and 20000…: with another home, a second instance',
    '  MINIVOICE_MEDIA       embedded (default) or freeswitch, with FREESWITCH_BIN=<path>',
    '                        or FREESWITCH_NODES=host:esl-port:sip-port,… and FREESWITCH_ESL_PASSWORD',
    '  MINIVOICE_DB          mariadb (default) or mysql, from Debian sid',
  ].join('\n');
}

async function main(): Promise<number> {
  const [name = 'help', ...args] = process.argv.slice(2);
  if (['help', '--help', '-h'].includes(name)) {
    console.log(help());
    return 0;
  }
  const command = COMMANDS[name];
  if (!command) throw new Failure(`There is no command ${JSON.stringify(name)}: see ./minivoice help.`);
  return command.run(args);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  if (error.log) console.error(error.log.replaceAll(/^/gm, '  | '));
  console.error(error.message);
  process.exitCode = 1;
}
