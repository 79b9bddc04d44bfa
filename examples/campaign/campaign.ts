import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { serve, type ServeOptions } from '../serve.ts';
import { Api } from './api.ts';
import { Caller } from './caller.ts';
import { Outcomes } from './outcomes.ts';
import { realClock, type Clock } from './pace.ts';
import { Progress, type Output } from './progress.ts';
import { E164, readRecipients } from './recipients.ts';
import { ResultsFile, summary, type Result } from './results.ts';

/**
 * Calls everybody on a list, and tells what became of each:
 *
 *   MINIVOICE_API_KEY=… WEBHOOK_SECRET=… node --import tsx examples/campaign/campaign.ts recipients.csv \
 *     --campaign spring_followup --from +15551230001
 *
 * It listens at PORT while it runs: the application in MiniVoice has its webhook_url there and that secret,
 * and, if you like, its answer_url too: who answers hears what `--say` says. Started again it calls only
 * those whom it has not called.
 */
export interface CampaignOptions extends Pick<ServeOptions, 'secret' | 'port' | 'host' | 'publicUrl'> {
  apiUrl: string;
  apiKey: string;
  /** In the metadata of every call, and what makes two runs the same campaign. */
  campaignId: string;
  from: string;
  /** The list, as CSV. */
  recipients: string;
  /** Where the results are written, and read when it is started again. */
  resultsPath: string;
  callsPerSecond?: number;
  callsAtATime?: number;
  /** What `/answer` says. */
  message?: string;
  out: Output;
  /** Stops it: no further calls, but those under way are followed to their end. */
  stop?: AbortSignal;
  clock?: Clock;
  patienceMs?: number;
  recordingMs?: number;
  /** Called before the first call. */
  onListening?: (url: string) => void | Promise<void>;
}

/** @returns what became of each recipient, and whether all of them were called */
export async function runCampaign(
  options: CampaignOptions,
): Promise<{ results: Result[]; complete: boolean }> {
  const {
    campaignId,
    from,
    out,
    stop,
    callsPerSecond = 1,
    callsAtATime = 5,
    message = 'This is a message for you. Goodbye.',
  } = options;
  const { recipients, bad, repeated } = readRecipients(options.recipients);
  const file = new ResultsFile(options.resultsPath);
  const outcomes = new Outcomes(campaignId);
  // Whoever has been called by an earlier run is done, unless it has not seen the call's end.
  const done = recipients
    .flatMap(({ to }) => file.earlier.get(to) ?? [])
    .filter(({ call_id, outcome }) => call_id && outcome !== 'unknown');
  const results = new Map(done.map((result) => [result.to, result]));
  const progress = new Progress(out, recipients.length - done.length);
  const caller = new Caller({
    api: new Api(options.apiUrl, options.apiKey),
    outcomes,
    clock: options.clock ?? realClock,
    campaignId,
    from,
    callsPerSecond,
    patienceMs: options.patienceMs ?? 60_000,
    recordingMs: options.recordingMs ?? 10_000,
    note: (text) => progress.say(text),
    onPlaced: (result) => file.add(result),
  });
  const onStop = (): void => caller.stop('interrupted', 'interrupted; waiting for the calls under way');
  const served = await serve(
    { '/answer': () => [{ say: { text: message } }] },
    { ...options, onWebhook: outcomes.take },
  );
  stop?.addEventListener('abort', onStop);
  try {
    await options.onListening?.(served.url);
    for (const problem of bad) progress.say(`${problem}; nobody is called for it`);
    for (const line of repeated) progress.say(`${line}, and called once`);
    if (done.length > 0) progress.say(`${done.length} were called before`);

    const settling: Promise<void>[] = [];
    const note = (result: Result): void => {
      results.set(result.to, result);
      if (result.call_id) file.add(result);
    };
    // As many workers as there may be calls at a time, and all of them take from the same queue.
    const queue = recipients.filter(({ to }) => !results.has(to)).values();
    const worker = async (): Promise<void> => {
      for (const recipient of queue) {
        progress.begin();
        const result = await caller.call(recipient, file.earlier.get(recipient.to)?.call_id);
        progress.end(result);
        note(result);
        settling.push(caller.settle(result).then(note));
      }
    };
    await Promise.all(Array.from({ length: callsAtATime }, worker));
    await Promise.all(settling);
    progress.close();

    const list = recipients.flatMap(({ to }) => results.get(to) ?? []);
    file.write(new Map([...file.earlier, ...results]).values());
    out.write(
      `Campaign ${campaignId}: ${list.length} recipients, ${bad.length} bad lines\n${summary(list)}\nResults: ${options.resultsPath}\n`,
    );
    return {
      results: list,
      complete:
        bad.length === 0 &&
        list.every(({ outcome }) => ['completed', 'failed', 'canceled'].includes(outcome)),
    };
  } finally {
    stop?.removeEventListener('abort', onStop);
    await served.close();
  }
}

const USAGE = `campaign.ts RECIPIENTS.csv --campaign ID --from NUMBER
  --campaign ID      letters, digits, . _ -; goes with every call, and starting the same one again calls nobody twice
  --from NUMBER      the number that is shown
  --cps N            calls per second at most (1)
  --at-a-time N      calls at a time at most (5)
  --say TEXT         what /answer says, where the application's answer_url leads here
  --results FILE     results (ID.results.csv beside the list)
Environment: MINIVOICE_API_KEY, WEBHOOK_SECRET, MINIVOICE_API_URL (http://127.0.0.1:8080), PORT (3000), HOST, PUBLIC_URL
Ends with 0 when everybody has been called, 1 when not (the results say who and why), 2 when it could not start.`;

/** @throws Error saying what is wrong with what it was started with */
function readOptions(args: string[], env: NodeJS.ProcessEnv): Omit<CampaignOptions, 'out' | 'stop'> {
  const {
    positionals: [path],
    values,
  } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      campaign: { type: 'string' },
      from: { type: 'string' },
      say: { type: 'string' },
      results: { type: 'string' },
      cps: { type: 'string', default: '1' },
      'at-a-time': { type: 'string', default: '5' },
    },
  });
  const {
    MINIVOICE_API_KEY: apiKey,
    WEBHOOK_SECRET: secret,
    MINIVOICE_API_URL: apiUrl = 'http://127.0.0.1:8080',
    PORT = '3000',
    HOST,
    PUBLIC_URL,
  } = env;
  const { campaign = '', from = '', results, say } = values;
  if (!path) throw new Error('which list?');
  if (!apiKey || !secret) throw new Error('MINIVOICE_API_KEY and WEBHOOK_SECRET are not set');
  if (!/^[\w.-]{1,64}$/.test(campaign)) throw new Error('--campaign is missing or is none');
  if (!E164.test(from)) throw new Error('--from is not a number such as +15551230001');
  const callsPerSecond = Number(values.cps);
  const callsAtATime = Number(values['at-a-time']);
  if (!(callsPerSecond > 0 && callsPerSecond <= 1000))
    throw new Error('--cps is not a number from above 0 to 1000');
  if (!(Number.isInteger(callsAtATime) && callsAtATime >= 1 && callsAtATime <= 1000))
    throw new Error('--at-a-time is not a number from 1 to 1000');
  return {
    apiUrl,
    apiKey,
    secret,
    port: Number(PORT),
    host: HOST,
    publicUrl: PUBLIC_URL,
    campaignId: campaign,
    from,
    callsPerSecond,
    callsAtATime,
    message: say,
    recipients: readFileSync(path, 'utf8'),
    resultsPath: results ?? join(dirname(path), `${campaign}.results.csv`),
  };
}

if (import.meta.filename === process.argv[1]) {
  const stop = new AbortController();
  process.on('SIGINT', () => {
    if (stop.signal.aborted) process.exit(130); // asked twice
    stop.abort();
  });
  try {
    const { complete } = await runCampaign({
      ...readOptions(process.argv.slice(2), process.env),
      out: process.stdout,
      stop: stop.signal,
      onListening: (url) => console.log(`listening; answer_url ${url}/answer, webhook_url ${url}/webhooks`),
    });
    process.exitCode = complete ? 0 : 1;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exitCode = 2;
  }
}
