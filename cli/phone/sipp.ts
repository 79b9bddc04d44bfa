import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A message in SIPp's log. */
export interface SippMessage {
  at: Date;
  sent: boolean;
  text: string;
  /** `INVITE sip:…` or `SIP/2.0 200 OK`. */
  startLine: string;
}

export interface SippResult {
  /** Every call went as the scenario says. */
  ok: boolean;
  exitCode: number;
  messages: SippMessage[];
  /** What SIPp had to say about unexpected messages. */
  errors: string;
}

export interface SippOptions {
  /** Name of a scenario in `carrier/`, or the path of another. */
  scenario: string;
  /** `ip:port` that is called. */
  remote: string;
  localIp: string;
  /** Values for `[name]` in the scenario. */
  keys?: Readonly<Record<string, string | number>>;
  /** How long any awaited message may take, in ms. */
  patienceMs?: number;
  args?: readonly string[];
  /** The binary; Debian has it in the package sip-tester. */
  command?: string;
}

/** Runs a SIPp scenario once. @throws Error when SIPp cannot be started; a failed call is a result. */
export async function sipp(options: SippOptions): Promise<SippResult> {
  const folder = await mkdtemp(join(tmpdir(), 'minivoice-sipp-'));
  const messageFile = join(folder, 'messages');
  const errorFile = join(folder, 'errors');
  const scenario = options.scenario.includes('/')
    ? options.scenario
    : fileURLToPath(new URL(`carrier/${options.scenario}.xml`, import.meta.url));
  const patienceMs = options.patienceMs ?? 30_000;
  const args = [
    options.remote,
    '-sf',
    scenario,
    '-i',
    options.localIp,
    '-m',
    '1',
    '-nostdin',
    '-skip_rlimit',
    '-recv_timeout',
    String(patienceMs),
    '-trace_msg',
    '-message_file',
    messageFile,
    '-trace_err',
    '-error_file',
    errorFile,
    ...Object.entries(options.keys ?? {}).flatMap(([name, value]) => ['-key', name, String(value)]),
    ...(options.args ?? []),
  ];
  try {
    const { exitCode, printed } = await run(options.command ?? 'sipp', args, folder);
    const [log, errors] = await Promise.all(
      [messageFile, errorFile].map((file) => readFile(file, 'utf8').catch(() => '')),
    );
    return {
      ok: exitCode === 0,
      exitCode,
      messages: readMessages(log ?? ''),
      errors: errors || (exitCode > 1 ? printed : ''),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(command: string, args: string[], cwd: string): Promise<{ exitCode: number; printed: string }> {
  return new Promise((resolve, reject) => {
    // SIPp's log has local time without a zone.
    execFile(
      command,
      args,
      { cwd, env: { ...process.env, TZ: 'UTC', TERM: 'dumb' }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number')
          reject(new Error(`SIPp (${command}) could not be run: ${error.message}`));
        else
          resolve({
            exitCode: typeof error?.code === 'number' ? error.code : 0,
            printed: `${stderr}${stdout}`.slice(-4000),
          });
      },
    );
  });
}

function readMessages(log: string): SippMessage[] {
  const parts = log.split(/^-{20,} (\d{4}-\d\d-\d\d)[ \t](\d\d:\d\d:\d\d\.\d+).*$/m);
  const messages: SippMessage[] = [];
  for (let i = 1; i + 2 < parts.length; i += 3) {
    const found = /^\s*\w+ message (sent|received) .*?:\s*\n\s*\n([\s\S]*)$/.exec(parts[i + 2] ?? '');
    if (!found) continue;
    const text = (found[2] ?? '').trimEnd();
    messages.push({
      at: new Date(`${parts[i]}T${parts[i + 1]?.slice(0, 12)}Z`),
      sent: found[1] === 'sent',
      text,
      startLine: text.split(/\r?\n/)[0] ?? '',
    });
  }
  return messages;
}
