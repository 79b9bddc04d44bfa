import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCampaign, type CampaignOptions } from '../../examples/campaign/campaign.ts';
import type { Result } from '../../examples/campaign/results.ts';
import { Phone, type Call } from '../support/phone.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { api, apiUrl, audio, done, tenant, until, type Json, type Tenant } from './platform.ts';

const FROM = '+15551230001';
const [ANN, BOB, CAT, DAN, EVE] = [
  '+15551230002',
  '+15551230003',
  '+15551230004',
  '+15551230005',
  '+15559990006',
] as const;
const SECRET = 'a-secret-of-the-campaign';
const MESSAGE = 'Your appointment is tomorrow at nine. Goodbye.';

/** What a called number does; who is not named is busy. */
type Manners = Record<string, (call: Call) => void | Promise<void>>;

describe('the campaign example', function () {
  this.timeout(60_000);
  let carrier: Phone;
  let own: Tenant;
  let folder: string;
  let said: string;
  /** Numbers that the carrier was asked for, in order. */
  let called: string[];

  beforeEach(async () => {
    carrier = await Phone.open({ address: '127.0.0.3' });
    folder = mkdtempSync(join(tmpdir(), 'campaign-'));
    said = '';
    called = [];
  });
  afterEach(async () => {
    await carrier.close();
    own.server.close();
    rmSync(folder, { recursive: true });
  });

  async function customer(fields: Json = {}): Promise<void> {
    own = await tenant({ webhook_secret: SECRET }, fields);
    await done(
      'POST',
      '/v1/trunks',
      { name: 'carrier', proxy: carrier.address, port: carrier.port, priority: 1 },
      own.key,
    );
  }

  /** The far side of the trunk: every number in its manner. Answered calls are kept. */
  function play(manners: Manners): void {
    carrier.listen('manual');
    void (async () => {
      for (;;) {
        const call = await carrier.incoming(60_000);
        const number = /^sip:(\+\d+)@/.exec(call.invite?.uri ?? '')?.[1] ?? '';
        called.push(number);
        await (manners[number] ?? ((busy) => busy.refuse(486)))(call);
      }
    })().catch(() => undefined);
  }

  /** The campaign as its users run it. Its address becomes the application's, for answers and webhooks. */
  const campaign = async (
    numbers: readonly string[],
    more: Partial<CampaignOptions> = {},
  ): Promise<{ list: Result[]; complete: boolean; became: string[] }> => {
    const { results: list, complete } = await runCampaign({
      apiUrl,
      apiKey: own.key,
      secret: SECRET,
      campaignId: 'spring_followup',
      from: FROM,
      recipients: `to\n${numbers.join('\n')}\n`,
      resultsPath: join(folder, 'results.csv'),
      message: MESSAGE,
      callsPerSecond: 20,
      out: { write: (text) => (said += text) },
      onListening: async (url) => {
        await done(
          'PATCH',
          `/v1/applications/${own.applicationId}`,
          { answer_url: `${url}/answer`, webhook_url: `${url}/webhooks` },
          own.key,
        );
      },
      ...more,
    });
    return {
      list,
      complete,
      became: list.map(({ outcome, code }) => (code ? `${outcome} ${code}` : outcome)),
    };
  };

  it('calls a list: one hears the message, the others are busy, do not answer, do not exist or may not be called', async () => {
    await customer({ spend: { blocked_prefixes: ['+1555999'] } });
    const answered: Call[] = [];
    play({
      [ANN]: (call) => {
        call.ring();
        call.answer();
        answered.push(call);
      },
      [CAT]: (call) => {
        call.ring();
        call.refuse(480);
      },
      [DAN]: (call) => call.refuse(404),
    });
    const running = campaign([ANN, BOB, CAT, DAN, EVE]);
    const ann = await until(() => answered[0], 'the first recipient to answer');
    await ann.heard.waitUntilHears(await spoken(MESSAGE));
    expect(await ann.ended()).to.include({ by: 'remote', how: 'bye' });

    const { list, complete, became } = await running;
    expect(became).to.deep.equal([
      'completed',
      'failed busy',
      'failed no_answer',
      'failed invalid_number',
      'skipped spend_control_exceeded',
    ]);
    expect(complete).to.equal(false);
    expect([...called].sort()).to.deep.equal([ANN, BOB, CAT, DAN]);
    expect(said)
      .to.contain(`${EVE} has a blocked prefix`)
      .and.to.match(/failed +3 +busy 1, no_answer 1, invalid_number 1\n/);

    // record: true, and what it cost.
    const [first] = list;
    const record = await done('GET', `/v1/calls/${first?.call_id ?? ''}`, undefined, own.key);
    expect(record).to.deep.include({
      status: 'completed',
      metadata: { campaign_id: 'spring_followup', record: true },
    });
    expect(first).to.include({
      billsec_seconds: String(record.billsec_seconds),
      cost_amount: record.cost_amount,
      cost_currency: 'EUR',
    });
    const file = await audio(new URL(first?.recording_url ?? '').pathname, own.key);
    expect([file.status, file.body.toString('latin1', 0, 4)]).to.deep.equal([200, 'RIFF']);
  });

  it('stops when the balance is used up, and after a top-up calls those who are left, and nobody twice', async () => {
    await customer({ credit: '1.50' });
    await done('POST', '/admin/v1/rates', {
      customer_id: own.customerId,
      prefix: '+1555',
      price_per_minute: '0.10',
      connection_fee: '1.00',
    });
    play(Object.fromEntries([ANN, BOB, CAT].map((number) => [number, (call: Call) => call.answer()])));
    const first = await campaign([ANN, BOB, CAT], { callsAtATime: 1, message: 'Hello.' });
    expect(first.became).to.deep.equal([
      'completed',
      'not_called insufficient_balance',
      'not_called insufficient_balance',
    ]);
    expect(called).to.deep.equal([ANN]);

    await done('POST', `/admin/v1/customers/${own.customerId}/credits`, { amount: '5.00' });
    const second = await campaign([ANN, BOB, CAT], { callsAtATime: 1, message: 'Hello.' });
    expect(second.became).to.deep.equal(['completed', 'completed', 'completed']);
    expect(called).to.deep.equal([ANN, BOB, CAT]);
    expect(second.list.every(({ cost_amount: cost }) => Number(cost) > 1)).to.equal(true);
  });

  it('waits when there are too many calls a second or at a time, and calls everybody in the end', async () => {
    await customer({ limits: { cps: 2, concurrent_calls: 1 } });
    play(Object.fromEntries([ANN, BOB, CAT].map((number) => [number, (call: Call) => call.answer()])));
    const { became } = await campaign([ANN, BOB, CAT], { message: 'Hello.' });
    expect(became).to.deep.equal(['completed', 'completed', 'completed']);
    expect([...called].sort()).to.deep.equal([ANN, BOB, CAT]);
    expect(said).to.contain('concurrent_call_limit_reached');
  });

  describe('the documented request', () => {
    const REQUEST = {
      from: '+15551230001',
      to: '+15551230002',
      metadata: { campaign_id: 'spring_followup' },
      record: true,
    };
    const post = (): Promise<{ status: number; body: Json }> => api('POST', '/v1/calls', REQUEST, own.key);

    it('is answered with the documented fields, and two that every call of ours has', async () => {
      await customer();
      play({});
      const { status, body } = await post();
      expect(status).to.equal(201);
      const { id, provider_call_id, created_at, dialing_at, variables, trunk_id, ...rest } = body;
      expect(id).to.match(/^call_\d{8}T\d{6}\.\d{9}$/);
      expect(provider_call_id).to.match(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      for (const time of [created_at, dialing_at]) expect(time).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(variables).to.deep.equal({});
      expect(trunk_id).to.match(/^trunk_/);
      expect(rest).to.deep.equal({
        status: 'dialing',
        direction: 'outbound',
        from: REQUEST.from,
        to: REQUEST.to,
        application_id: own.applicationId,
        customer_id: own.customerId,
        answer_url: `${own.server.base}/answer`,
        metadata: { campaign_id: 'spring_followup', record: true },
        route_mode: 'webhook',
        routing_target: own.applicationId,
      });
    });

    it('is refused with the documented error when the balance is too low', async () => {
      await customer({ credit: '0' });
      const { status, body } = await post();
      expect(status).to.equal(402);
      expect(body.error).to.include({
        code: 'insufficient_balance',
        message: 'balance is too low to create call',
      });
      expect(called).to.deep.equal([]);
    });
  });
});
