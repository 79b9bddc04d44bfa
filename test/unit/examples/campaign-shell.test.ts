import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeCallsApi } from './fake-calls-api.ts';

const PROGRAM = join(import.meta.dirname, '../../../examples/campaign/campaign.ts');
const [ANN, BOB] = ['+15551230002', '+15551230003'];

describe('examples/campaign from the shell', () => {
  let api: FakeCallsApi;
  let folder: string;
  let child: ChildProcess;
  let said: string;

  beforeEach(async () => {
    api = await FakeCallsApi.open();
    folder = mkdtempSync(join(tmpdir(), 'campaign-'));
    writeFileSync(join(folder, 'list.csv'), `to\n${ANN}\n${BOB}\n`);
    said = '';
  });
  afterEach(() => {
    child.kill('SIGKILL');
    api.close();
    rmSync(folder, { recursive: true });
  });

  /** Resolves with its exit code. */
  async function run(...args: string[]): Promise<unknown> {
    child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        MINIVOICE_API_URL: api.url,
        MINIVOICE_API_KEY: 'key',
        WEBHOOK_SECRET: api.secret,
        PORT: '0',
      },
    });
    const hear = (text: Buffer): void => {
      said += text.toString();
      api.webhookUrl = /webhook_url (\S+)/.exec(said)?.[1] ?? '';
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    return (await once(child, 'close'))[0];
  }

  const list = (...more: string[]): Promise<unknown> =>
    run(
      join(folder, 'list.csv'),
      '--campaign',
      'spring_followup',
      '--from',
      '+15551230001',
      '--cps',
      '100',
      ...more,
    );

  async function hears(text: string): Promise<void> {
    while (!said.includes(text)) await once(child.stdout ?? child, 'data');
  }

  /** Calls end once the program has said where it listens. */
  function endsBy(end: (id: string) => Promise<void>): void {
    for (const number of [ANN, BOB]) api.courses.set(number, { status: 'completed', webhooks: 'manual' });
    api.onCall = (id) => void hears('webhook_url').then(() => end(id));
  }

  it('calls a list, one line each, and ends with 0 when everybody has been called', async () => {
    endsBy((id) => api.end(id, { status: 'completed', seconds: 6 }));
    expect(await list()).to.equal(0);
    expect(said)
      .to.contain(`${ANN} completed, 6 s\n`)
      .and.to.contain(`Results: ${join(folder, 'spring_followup.results.csv')}\n`)
      .and.not.to.contain('\u001b');
  });

  it('ends with 1 when somebody has not been called', async () => {
    api.answers.set(ANN, [{ status: 402, code: 'insufficient_balance' }]);
    expect(await list('--at-a-time', '1')).to.equal(1);
    expect(said).to.match(/not_called +2 +insufficient_balance 2/);
  });

  it('the first Ctrl-C waits for the calls under way', async () => {
    endsBy(async (id) => {
      child.kill('SIGINT');
      await hears('no further calls');
      await api.end(id, { status: 'completed', seconds: 6 });
    });
    expect(await list('--at-a-time', '1')).to.equal(1);
    expect(said)
      .to.contain(`${ANN} completed, 6 s\n`)
      .and.to.match(/not_called +1 +interrupted 1/);
  });

  it('the second Ctrl-C does not', async () => {
    endsBy(async () => {
      child.kill('SIGINT');
      await hears('no further calls');
      child.kill('SIGINT');
    });
    expect(await list('--at-a-time', '1')).to.equal(130);
  });

  it('ends with 2 and says what is wrong when it cannot start', async () => {
    expect(await run()).to.equal(2);
    expect(said).to.contain('which list?').and.to.contain('--campaign ID');
    for (const [wrong, message] of [
      [['--from', '0555'], '--from is not a number'],
      [['--cps', '0'], '--cps is not'],
      [['--at-a-time', '1.5'], '--at-a-time is not'],
      [['--campaign', 'a b'], '--campaign is'],
    ] as const) {
      expect(await list(...wrong)).to.equal(2);
      expect(said).to.contain(message);
    }
    expect(api.placings).to.deep.equal([]);
  });
});
