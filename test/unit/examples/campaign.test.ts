import { expect } from 'chai';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCampaign, type CampaignOptions } from '../../../examples/campaign/campaign.ts';
import type { Result } from '../../../examples/campaign/results.ts';
import { FakeCallsApi } from './fake-calls-api.ts';

const [ANN, BOB, CAT, DAN, EVE] = [
  '+15551230002',
  '+15551230003',
  '+15551230004',
  '+15551230005',
  '+15551230006',
] as const;
const listOf = (...numbers: string[]): string => `to\n${numbers.join('\n')}\n`;

describe('examples/campaign', () => {
  let api: FakeCallsApi;
  let folder: string;
  let said: string;
  let waits: number[];

  beforeEach(async () => {
    api = await FakeCallsApi.open();
    folder = mkdtempSync(join(tmpdir(), 'campaign-'));
    said = '';
    waits = [];
  });
  afterEach(() => {
    api.close();
    rmSync(folder, { recursive: true });
  });

  const results = (): string => join(folder, 'results.csv');

  /** Runs it on a clock of its own: waiting is noted and takes no time. */
  async function run(
    recipients: string,
    more: Partial<CampaignOptions> = {},
  ): Promise<{ results: Result[]; complete: boolean; became: Record<string, string> }> {
    let now = 0;
    const report = await runCampaign({
      apiUrl: api.url,
      apiKey: 'mv_live_key',
      secret: api.secret,
      campaignId: 'spring_followup',
      from: '+15551230001',
      recipients,
      resultsPath: results(),
      callsPerSecond: 1000,
      out: { write: (text) => (said += text) },
      recordingMs: 5000,
      clock: {
        now: () => now,
        sleep: async (ms, stop) => {
          waits.push(ms);
          await new Promise((resolve) => setImmediate(resolve));
          stop?.throwIfAborted();
          now += ms;
        },
      },
      onListening: (url) => {
        api.webhookUrl = `${url}/webhooks`;
      },
      ...more,
    });
    return {
      ...report,
      became: Object.fromEntries(
        report.results.map(({ to, outcome, code }) => [to, code ? `${outcome} ${code}` : outcome]),
      ),
    };
  }

  const longWaits = (): number[] => waits.filter((ms) => ms > 100).map((ms) => Math.ceil(ms / 1000));

  it('asks for each call with exactly the documented body, and a key of the campaign and the recipient', async () => {
    await run(`to,reference\n${ANN},\n${BOB},customer 7\n`, { callsAtATime: 1 });
    expect(api.placings.map(({ body }) => body)).to.deep.equal([
      { from: '+15551230001', to: ANN, metadata: { campaign_id: 'spring_followup' }, record: true },
      {
        from: '+15551230001',
        to: BOB,
        metadata: { campaign_id: 'spring_followup', reference: 'customer 7' },
        record: true,
      },
    ]);
    expect(api.placings.map(({ key }) => key)).to.deep.equal([
      `spring_followup:${ANN}:1`,
      `spring_followup:${BOB}:1`,
    ]);
    expect(api.placings[0]?.authorization).to.equal('Bearer mv_live_key');
  });

  it('tells what became of each call, as its webhook says, in the results and in a summary', async () => {
    api.courses.set(BOB, { status: 'failed', code: 'busy' }).set(CAT, { status: 'canceled' });
    const { results: list, complete } = await run(listOf(ANN, BOB, CAT));
    const id = api.callTo(ANN);
    expect(list).to.have.length(3);
    expect(list[0]).to.deep.equal({
      to: ANN,
      call_id: id,
      outcome: 'completed',
      code: undefined,
      billsec_seconds: '12',
      cost_amount: '0.12',
      cost_currency: 'EUR',
      recording_url: `https://example.com/rec_${id}`,
    });
    expect(complete).to.equal(true);
    expect(readFileSync(results(), 'utf8').split('\n')).to.deep.equal([
      'to,reference,outcome,code,call_id,billsec_seconds,cost_amount,cost_currency,recording_url',
      `${ANN},,completed,,${id},12,0.12,EUR,https://example.com/rec_${id}`,
      `${BOB},,failed,busy,${api.callTo(BOB)},0,,,`,
      `${CAT},,canceled,,${api.callTo(CAT)},0,,,`,
      '',
    ]);
    expect(said)
      .to.contain(`${BOB} failed: busy\n`)
      .and.to.match(
        /completed +1\n +failed +1 +busy 1\n +canceled +1\n +0\.2 minutes, 0\.12 EUR, 1 recordings\n/,
      );
  });

  it('knows an outcome that comes before the reply that names the call', async () => {
    api.courses.set(ANN, { status: 'failed', code: 'no_answer', webhooks: 'before' });
    expect((await run(listOf(ANN))).became).to.deep.equal({ [ANN]: 'failed no_answer' });
    expect(api.asked).to.equal(0);
  });

  it('believes no webhook that is not signed with its secret, and acknowledges repeated ones', async () => {
    api.courses.set(ANN, { status: 'completed', webhooks: 'manual' });
    api.onCall = (id) =>
      void api
        .end(id, { status: 'failed', code: 'busy' }, 'another secret')
        .then(() => api.end(id, { status: 'completed', seconds: 5 }));
    expect((await run(listOf(ANN))).became).to.deep.equal({ [ANN]: 'completed' });
    expect(api.delivered.slice(0, 4)).to.deep.equal([401, 401, 200, 200]);
  });

  it('asks the API for a call whose webhook does not come', async () => {
    api.courses.set(ANN, { status: 'completed', seconds: 30, webhooks: 'never' });
    const {
      results: [ann],
    } = await run(listOf(ANN), { patienceMs: 1, recordingMs: 1 });
    expect(ann).to.include({ outcome: 'completed', billsec_seconds: '30', cost_amount: '0.50' });
  });

  it('402: stops, and tells who is left', async () => {
    api.answers.set(BOB, [{ status: 402, code: 'insufficient_balance' }]);
    const { became, complete } = await run(listOf(ANN, BOB, CAT, DAN), { callsAtATime: 1 });
    expect(became).to.deep.equal({
      [ANN]: 'completed',
      [BOB]: 'not_called insufficient_balance',
      [CAT]: 'not_called insufficient_balance',
      [DAN]: 'not_called insufficient_balance',
    });
    expect(complete).to.equal(false);
    expect(api.placings).to.have.length(2);
    expect(said)
      .to.contain('no further calls: said insufficient_balance\n')
      .and.to.match(/not_called +3 +insufficient_balance 3/);
  });

  it('after a 402 and a top-up calls those who are left, and nobody twice', async () => {
    api.answers.set(BOB, [{ status: 402, code: 'insufficient_balance' }]);
    await run(listOf(ANN, BOB, CAT), { callsAtATime: 1 });
    const { became, complete } = await run(listOf(ANN, BOB, CAT), { callsAtATime: 1 });
    expect(became).to.deep.equal({ [ANN]: 'completed', [BOB]: 'completed', [CAT]: 'completed' });
    expect(complete).to.equal(true);
    expect([api.of(ANN), api.of(BOB), api.of(CAT)]).to.deep.equal([
      ['201 1'],
      ['402 1', '402 1 replayed', '201 2'],
      ['201 1'],
    ]);
    expect(said).to.contain('1 were called before');
  });

  it('403 for a number skips that number alone; a cap, a suspended customer or a wrong key stops all', async () => {
    api.answers.set(ANN, [
      {
        status: 403,
        code: 'spend_control_exceeded',
        details: [{ path: 'spend.blocked_prefixes', message: `${ANN} has a blocked prefix` }],
      },
    ]);
    api.answers.set(BOB, [{ status: 400, code: 'rate_not_found' }]);
    api.answers.set(DAN, [{ status: 422, code: 'idempotency_mismatch' }]);
    expect((await run(listOf(ANN, BOB, CAT, DAN))).became).to.deep.equal({
      [ANN]: 'skipped spend_control_exceeded',
      [BOB]: 'skipped rate_not_found',
      [CAT]: 'completed',
      [DAN]: 'skipped idempotency_mismatch',
    });
    expect(said).to.contain(`${ANN}: said spend_control_exceeded: ${ANN} has a blocked prefix\n`);
    for (const refusal of [
      {
        status: 403,
        code: 'spend_control_exceeded',
        details: [{ path: 'spend.daily', message: 'no more today' }],
      },
      { status: 403, code: 'customer_suspended' },
      { status: 401, code: 'unauthorized' },
      { status: 400, code: 'no_active_trunk' },
    ]) {
      api.answers.set(DAN, [refusal]);
      const { became } = await run(listOf(DAN, EVE), {
        callsAtATime: 1,
        campaignId: `c${waits.length}.${refusal.code}`,
      });
      expect(became).to.deep.equal({
        [DAN]: `not_called ${refusal.code}`,
        [EVE]: `not_called ${refusal.code}`,
      });
    }
  });

  it('429: waits as long as Retry-After says, and asks again for the same recipient', async () => {
    api.answers.set(ANN, [
      { status: 429, code: 'cps_limit_reached', retryAfter: 3 },
      {
        status: 429,
        code: 'concurrent_call_limit_reached',
        retryAfter: new Date(Date.now() + 20_000).toUTCString(),
      },
      { status: 429, code: 'rate_limited' },
    ]);
    expect((await run(listOf(ANN))).became).to.deep.equal({ [ANN]: 'completed' });
    expect(api.of(ANN)).to.deep.equal(['429 1', '429 1', '429 1', '201 1']);
    expect(longWaits()[0]).to.equal(3);
    expect(longWaits()[1]).to.be.within(18, 20);
    expect(longWaits()[2]).to.equal(1);
    expect(said).to.contain('waiting 3 s: cps_limit_reached');
  });

  it('503: waits likewise, and asks under the next key once the platform is sure that there is no call', async () => {
    api.answers.set(ANN, [{ status: 503, code: 'service_unavailable', retryAfter: 2 }]);
    expect((await run(listOf(ANN))).became).to.deep.equal({ [ANN]: 'completed' });
    expect(api.of(ANN)).to.deep.equal(['503 1', '503 1 replayed', '201 2']);
    expect(longWaits()).to.deep.equal([2]);
  });

  it('a request that is still running is asked about again', async () => {
    api.answers.set(ANN, [{ status: 409, code: 'idempotency_in_progress', retryAfter: 1 }]);
    expect((await run(listOf(ANN))).became).to.deep.equal({ [ANN]: 'completed' });
    expect(api.of(ANN)).to.deep.equal(['409 1', '201 1']);
  });

  it('a connection that breaks: the same again with the same key, and so no second call', async () => {
    api.answers.set(ANN, ['cut', 'cut after the call']);
    expect((await run(listOf(ANN), { patienceMs: 5000 })).became).to.deep.equal({ [ANN]: 'completed' });
    expect(api.of(ANN)).to.deep.equal(['0 1', '201 1', '201 1 replayed']);
    expect(api.calls.size).to.equal(1);
    expect(longWaits()).to.deep.equal([1, 2]);
  });

  it('500: what became of it is unknown, and told so; the others are called', async () => {
    api.answers.set(ANN, [{ status: 500, code: 'internal_error' }]);
    const { became, complete } = await run(listOf(ANN, BOB));
    expect([became, complete]).to.deep.equal([
      { [ANN]: 'unknown internal_error', [BOB]: 'completed' },
      false,
    ]);
    expect(api.of(ANN)).to.deep.equal(['500 1', '500 1 replayed']);
  });

  it('stops when the API does not answer any more', async () => {
    api.answers.set(
      ANN,
      Array.from({ length: 9 }, () => 'cut' as const),
    );
    expect((await run(listOf(ANN, BOB), { callsAtATime: 1 })).became).to.deep.equal({
      [ANN]: 'unknown no_reply',
      [BOB]: 'not_called no_reply',
    });
    expect(api.placings).to.have.length(5);
    expect(longWaits()).to.deep.equal([1, 2, 4, 8]);
  });

  it('502 originate_failed is a call that has failed', async () => {
    api.answers.set(ANN, [{ status: 502, code: 'originate_failed' }]);
    const { became, complete } = await run(listOf(ANN, BOB));
    expect([became, complete]).to.deep.equal([
      { [ANN]: 'failed originate_failed', [BOB]: 'completed' },
      true,
    ]);
    expect(api.of(ANN)).to.deep.equal(['502 1']);
  });

  it('started again calls nobody twice, and keeps what it knows', async () => {
    api.courses.set(BOB, { status: 'failed', code: 'busy' });
    await run(listOf(ANN, BOB));
    const first = readFileSync(results(), 'utf8');
    const { became } = await run(listOf(ANN, BOB));
    expect(became).to.deep.equal({ [ANN]: 'completed', [BOB]: 'failed busy' });
    expect(readFileSync(results(), 'utf8')).to.equal(first);
    expect(api.placings).to.have.length(2);
  });

  it('started again without its results calls nobody twice either', async () => {
    await run(listOf(ANN, BOB));
    rmSync(results());
    const { results: list } = await run(listOf(ANN, BOB), { recordingMs: 1 });
    expect(
      list.map(({ outcome, call_id, billsec_seconds }) => [outcome, call_id, billsec_seconds]),
    ).to.deep.equal([
      ['completed', api.callTo(ANN), '12'],
      ['completed', api.callTo(BOB), '12'],
    ]);
    expect(api.calls.size).to.equal(2);
  });

  it('after a crash follows the calls that it has placed, and places them no second time, however much later', async () => {
    // What the file holds while the call is under way is what a crash leaves behind.
    let left = '';
    api.courses.set(ANN, { status: 'completed', webhooks: 'manual' });
    api.onCall = (id) => {
      left = readFileSync(results(), 'utf8');
      if (left.includes(id)) void api.end(id, { status: 'completed', seconds: 8 });
      else setImmediate(api.onCall, id);
    };
    await run(listOf(ANN));
    expect(left.split('\n')[1]).to.equal(`${ANN},,unknown,,${api.callTo(ANN)},,,,`);
    writeFileSync(results(), `${left}+1555123`);
    api.forgetKeys();
    const {
      results: [ann],
    } = await run(listOf(ANN), { recordingMs: 1 });
    expect(ann).to.include({ outcome: 'completed', call_id: api.callTo(ANN), billsec_seconds: '8' });
    expect(api.placings).to.have.length(1);
  });

  it('has no more calls under way than it may, and paces them', async () => {
    const numbers = Array.from({ length: 12 }, (_, i) => `+1555123${1000 + i}`);
    await run(listOf(...numbers), { callsAtATime: 3, callsPerSecond: 4 });
    expect(api.most).to.be.within(1, 3);
    expect(api.calls.size).to.equal(12);
    expect(waits.filter((ms) => ms > 0).reduce((sum, ms) => Math.max(sum, ms), 0)).to.be.at.most(250);
    expect(waits.filter((ms) => ms === 250).length).to.be.at.least(11);
  });

  it('when it is interrupted places no further call, and waits for those under way', async () => {
    const stop = new AbortController();
    api.courses.set(ANN, { status: 'completed', webhooks: 'manual' });
    api.onCall = (id) => {
      stop.abort();
      void api.end(id, { status: 'completed', seconds: 4 });
    };
    const { became, complete } = await run(listOf(ANN, BOB), { callsAtATime: 1, stop: stop.signal });
    expect([became, complete]).to.deep.equal([
      { [ANN]: 'completed', [BOB]: 'not_called interrupted' },
      false,
    ]);
  });

  it('interrupted while it waits, does not call the one who waits', async () => {
    const stop = new AbortController();
    api.answers.set(ANN, [{ status: 429, code: 'cps_limit_reached', retryAfter: 60 }]);
    const clock = {
      now: () => 0,
      sleep: (_ms: number, signal?: AbortSignal) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(new Error('stopped')));
          stop.abort();
        }),
    };
    expect((await run(listOf(ANN), { stop: stop.signal, clock })).became).to.deep.equal({
      [ANN]: 'not_called interrupted',
    });
  });

  it('names bad lines and calls the others; a number that comes twice is called once', async () => {
    const { became, complete } = await run(
      `\ufeffTo;Reference\n${ANN};"a;b"\n\n0555 12;x\n${ANN};again\n${BOB};b"ad\n ${CAT}\n`,
    );
    expect(became).to.deep.equal({ [ANN]: 'completed', [CAT]: 'completed' });
    expect(complete).to.equal(false);
    expect(said)
      .to.contain('line 4: "0555 12" is not a number such as +15551230002; nobody is called for it\n')
      .and.to.match(/line 6: Invalid Opening Quote.*; nobody is called for it\n/)
      .and.to.contain(`line 5: ${ANN} is in line 2 too, and called once\n`);
    expect(api.placings.map(({ body }) => body.metadata)).to.deep.include({
      campaign_id: 'spring_followup',
      reference: 'a;b',
    });
  });

  it('calls nobody from a list that it cannot read', async () => {
    for (const [list, message] of [
      ['number\n+15551230002\n', /one of them must be "to"/],
      ['', /must name the columns/],
      [`to\n"${ANN}\n${BOB}\n`, /never closed/],
    ] as const) {
      expect(await run(list).catch((error: unknown) => String(error))).to.match(message);
    }
    expect(api.placings).to.deep.equal([]);
  });

  it('on a terminal draws a bar, which notes do not break', async () => {
    api.answers.set(ANN, [{ status: 403, code: 'spend_control_exceeded' }]);
    await run(listOf(ANN, BOB), {
      callsAtATime: 1,
      out: { isTTY: true, columns: 200, write: (text) => (said += text) },
    });
    const clear = '\r\u001b[2K';
    expect(said.split(clear)).to.include.members([
      '[..............................] 0/2  under way 1',
      `${ANN}: said spend_control_exceeded\n`,
      '[###############...............] 1/2  skipped 1, under way 0',
      '[##############################] 2/2  skipped 1, completed 1, under way 0',
    ]);
    expect(said.slice(said.lastIndexOf(clear) + clear.length)).to.match(
      /^Campaign spring_followup: 2 recipients/,
    );
  });
});
