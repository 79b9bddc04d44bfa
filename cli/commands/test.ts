import { which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { environmentFor, privateInstance } from '../testing/private-instance.ts';
import { closingLine, NONE, runChecks, runSuite, sum, type Count } from '../testing/suites.ts';
import { PARTS, type Media, type Part } from '../settings.ts';
import { setUp, type Tools } from '../setup/index.ts';
import { step } from '../steps.ts';

const SUITES = ['unit', 'integration', 'e2e'] as const;
type Suite = (typeof SUITES)[number];

/** `test [suite] [mocha options]`. The last line says how many passed and failed, of all suites together. */
export async function test(args: string[]): Promise<number> {
  const [first] = args;
  const named = SUITES.find((suite) => suite === first);
  if (first !== undefined && !named && !first.startsWith('-')) throw new Failure(`There is no suite ${JSON.stringify(first)}: ${SUITES.join(', ')}.`);
  const options = named ? args.slice(1) : args;
  const wanted: readonly Suite[] = named ? [named] : SUITES;

  const counts: Count[] = [];
  let interrupted = false;
  process.on('SIGINT', () => (interrupted = true));
  process.on('SIGTERM', () => (interrupted = true));
  try {
    const tools = await setUp();
    if (wanted.includes('unit')) {
      heading('unit');
      counts.push(await runChecks(), await runSuite('unit', {}, options));
    }
    for (const suite of wanted.filter((one) => one !== 'unit')) {
      for (const { folder, media } of suite === 'e2e' ? (await mediaToTest()).flatMap(withNodes) : [{ folder: suite, media: undefined }]) {
        if (interrupted) break;
        heading(media ? `${folder} on the ${media.kind} media node` : suite);
        counts.push(await onInstance(folder, tools, media, options, () => interrupted));
      }
    }
  } catch (error) {
    // A set-up that failed is a failed run: the closing line must say so too.
    counts.push({ passed: 0, failed: 1, skipped: 0 });
    console.log(`\n${closingLine(sum(counts))}`);
    throw error;
  }
  const total = sum(counts);
  console.log(`\n${interrupted ? 'Interrupted.\n' : ''}${closingLine(total)}`);
  return interrupted ? 130 : total.failed > 0 || total.passed === 0 ? 1 : 0;
}

/** What needs two media nodes is in a folder of its own. */
const withNodes = (media: Media): { folder: string; media: Media }[] => [{ folder: 'e2e', media }, { folder: 'e2e-nodes', media: { ...media, count: 2 } }];

const heading = (text: string): void => console.log(`\n── ${text} ${'─'.repeat(Math.max(0, 68 - text.length))}`);

async function onInstance(folder: string, tools: Tools, media: Media | undefined, options: string[], interrupted: () => boolean): Promise<Count> {
  const parts: Part[] = media ? [...PARTS] : ['mariadb', 'redis'];
  let instance: Awaited<ReturnType<typeof privateInstance>> | undefined;
  await step(`An instance of its own: ${parts.join(', ')}`, async () => {
    instance = await privateInstance(tools, { parts, ...(media ? { media } : {}) });
  }, { long: true });
  const running = instance;
  if (!running) throw new Failure('The instance is not there.');
  let failed = true;
  try {
    if (interrupted()) return NONE;
    const count = await runSuite(folder, environmentFor(tools, running), options);
    failed = count.failed > 0;
    return count;
  } finally {
    const logs = await running.end(failed ? folder : undefined);
    if (logs) console.log(`The logs of the instance are in ${logs}.`);
  }
}

/** The e2e suite is to pass on the embedded node and on a real FreeSWITCH, where there is one. */
async function mediaToTest(): Promise<Media[]> {
  const binary = await which(process.env['FREESWITCH_BIN'] || 'freeswitch');
  if (!binary) console.log('\nNo FreeSWITCH was found (FREESWITCH_BIN, or freeswitch in PATH): e2e runs on the embedded media node alone.');
  return [{ kind: 'embedded' }, ...(binary ? [{ kind: 'freeswitch' as const, binary }] : [])];
}
