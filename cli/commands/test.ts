import { availableParallelism } from 'node:os';
import { checkMochaOptions } from '../arguments.ts';
import { which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { inOrder } from '../testing/in-order.ts';
import { environmentFor, privateInstance } from '../testing/private-instance.ts';
import { closingLine, NONE, runChecks, runSuite, sum, type Count } from '../testing/suites.ts';
import { databaseFrom, PARTS, type DatabaseKind, type Media, type Part } from '../settings.ts';
import { setUp, type Tools } from '../setup/index.ts';
import { aloud, step, type Say } from '../steps.ts';

const SUITES = ['unit', 'integration', 'e2e'] as const;

/** The suites that need nothing but a database, and Redis: they run on MariaDB and on MySQL. */
const DATABASE_ROOMS = [
  'applications',
  'billing',
  'calls',
  'customers',
  'dids',
  'http',
  'recordings',
  'trunks',
  'webhooks',
].map((room) => `integration/${room}`);

/**
 * One suite on one kind of media node:
 * @returns how it went.
 * @param say where what it says goes, instead of this terminal
 */
interface Run {
  title: string;
  start: (say?: Say) => Promise<Count>;
}

/** `test [suite] [mocha options]`. The last line says how many passed and failed, of all suites together. */
export async function test(args: string[]): Promise<number> {
  const [first] = args;
  const named = SUITES.find((suite) => suite === first);
  if (first !== undefined && !named && !first.startsWith('-'))
    throw new Failure(`There is no suite ${JSON.stringify(first)}: ${SUITES.join(', ')}.`);
  const options = named ? args.slice(1) : args;
  checkMochaOptions(options);

  const counts: Count[] = [];
  let interrupted = false;
  process.on('SIGINT', () => (interrupted = true));
  process.on('SIGTERM', () => (interrupted = true));
  try {
    const database = databaseFrom(process.env);
    const integration = !named || named === 'integration';
    const tools = await setUp({ mysql: database === 'mysql' || integration, networks: integration });
    // A CI machine may stall for seconds. A test that fails there is tried once more, and named at the end as
    // a fault either way.
    const withParts = process.env['CI'] ? ['--retries', '1', ...options] : options;
    const onInstance = (suite: string, media?: Media): Run => ({
      title: media ? `${suite} on the ${media.kind} media node` : suite,
      start: (say) =>
        runOnInstance([suite], {
          tools,
          media,
          database,
          options: withParts,
          interrupted: () => interrupted,
          say,
        }),
    });
    const onMySql: Run = {
      title: 'the database suites of integration on MySQL',
      start: (say) =>
        runOnInstance(DATABASE_ROOMS, {
          tools,
          database: 'mysql',
          options: withParts,
          interrupted: () => interrupted,
          say,
        }),
    };
    const unit: Run = {
      title: 'unit',
      start: async (say) => {
        const checks = await runChecks(say);
        return interrupted ? checks : sum([checks, await runSuite(['unit'], {}, options, say)]);
      },
    };
    const kinds = !named || named === 'e2e' ? await mediaToTest() : [];
    // Almost all of the time tests wait for sound to be heard, so that two runs go on side by side. What
    // takes longest comes first.
    await runAll(
      [
        ...(!named || named === 'unit' ? [unit] : []),
        ...kinds.slice(0, 1).map((media) => onInstance('e2e', media)),
        ...(integration ? [onInstance('integration')] : []),
        ...(integration && database === 'mariadb' ? [onMySql] : []),
        ...kinds.slice(1).map((media) => onInstance('e2e', media)),
        // What needs two media nodes is in a folder of its own.
        ...kinds.map((media) => onInstance('e2e-nodes', { ...media, count: 2 })),
      ],
      { atOnce: Math.min(2, availableParallelism()), interrupted: () => interrupted, counts },
    );
  } catch (error) {
    // A set-up that failed is a failed run: the closing line must say so too.
    counts.push({ passed: 0, failed: 1, skipped: 0 });
    console.log(`\n${closingLine(sum(counts))}`);
    throw error;
  }
  const total = sum(counts);
  console.log(
    ['', ...(total.problems ?? []), ...(interrupted ? ['Interrupted.'] : []), closingLine(total)].join('\n'),
  );
  return interrupted ? 130 : total.failed > 0 || total.passed === 0 ? 1 : 0;
}

/**
 * Starts the runs in their order, so many at once.
 * @throws what the first of them has thrown, when all are over
 */
async function runAll(
  runs: Run[],
  { atOnce, interrupted, counts }: { atOnce: number; interrupted: () => boolean; counts: Count[] },
): Promise<void> {
  const voices = inOrder(runs.length, aloud);
  const waiting = runs.map((run, at) => ({ ...run, voice: voices[at] }));
  const errors: unknown[] = [];
  const runSome = async (): Promise<void> => {
    for (let next = waiting.shift(); next && !interrupted(); next = waiting.shift()) {
      const { title, start, voice } = next;
      const alone = atOnce === 1 || runs.length === 1;
      (voice?.say ?? aloud)(`\n── ${title} ${'─'.repeat(Math.max(0, 68 - title.length))}\n`);
      try {
        // One alone has the terminal to itself.
        counts.push(await start(alone ? undefined : voice?.say));
      } catch (error) {
        errors.push(error);
      } finally {
        voice?.end();
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, runSome));
  if (errors.length > 0) throw errors[0];
}

interface InstanceRun {
  tools: Tools;
  /** Undefined: the suite needs the database and Redis alone. */
  media?: Media | undefined;
  database: DatabaseKind;
  /** Mocha's. */
  options: string[];
  interrupted: () => boolean;
  say?: Say | undefined;
}

async function runOnInstance(
  suites: readonly string[],
  { tools, media, database, options, interrupted, say }: InstanceRun,
): Promise<Count> {
  const parts: Part[] = media ? [...PARTS] : ['database', 'redis'];
  let instance: Awaited<ReturnType<typeof privateInstance>> | undefined;
  await step(
    `An instance of its own: ${parts.join(', ')}`,
    async () => {
      instance = await privateInstance(tools, { parts, database, ...(media ? { media } : {}) });
    },
    { long: true, say },
  );
  const running = instance;
  if (!running) throw new Failure('The instance is not there.');
  let failed = true;
  try {
    if (interrupted()) return NONE;
    const count = await runSuite(suites, environmentFor(tools, running), options, say);
    failed = count.failed > 0;
    return count;
  } finally {
    const logs = await running.end(
      failed ? (suites[0] ?? 'test').split('/')[0] + (database === 'mysql' ? '-mysql' : '') : undefined,
    );
    if (logs) (say ?? aloud)(`The logs of the instance are in ${logs}.\n`);
  }
}

/** The e2e suite is to pass on the embedded node and on a real FreeSWITCH, where there is one. */
async function mediaToTest(): Promise<Media[]> {
  const binary = await which(process.env['FREESWITCH_BIN'] || 'freeswitch');
  if (!binary)
    console.log(
      '\nNo FreeSWITCH was found (FREESWITCH_BIN, or freeswitch in PATH): e2e runs on the embedded media node alone.',
    );
  return [{ kind: 'embedded' }, ...(binary ? [{ kind: 'freeswitch' as const, binary }] : [])];
}
