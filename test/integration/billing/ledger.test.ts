import { expect } from 'chai';
import { OPERATOR, startApi, type TestApi } from '../http/api.ts';

describe('the money of a customer', () => {
  let api: TestApi;
  before(async () => {
    api = await startApi();
  });
  after(() => api.close());

  const credit = (id: string, body: unknown) => api.admin('POST', `/customers/${id}/credits`, body);

  it('is nothing at first, and what was paid in from then on', async () => {
    const { customerId, key } = await api.customer();
    const empty = {
      customer_id: customerId,
      available_amount: '0.00',
      held_amount: '0.00',
      currency: 'EUR',
      spend: { daily: { spent_amount: '0.00' }, monthly: { spent_amount: '0.00' } },
    };
    expect((await api.admin('GET', `/customers/${customerId}/balance`)).body).to.deep.equal(empty);
    const { status, body } = await credit(customerId, { amount: '25.5', reference: 'invoice 7' });
    expect(status).to.equal(201);
    expect(body).to.deep.include({
      customer_id: customerId,
      kind: 'top_up',
      debit: 'top_up',
      credit: 'available',
      amount: '25.50',
      currency: 'EUR',
      reference: 'invoice 7',
    });
    await api.admin('PATCH', `/customers/${customerId}`, { spend: { daily: '10', monthly: '200.5' } });
    expect((await api.send('GET', '/v1/balance', { key })).body).to.deep.equal({
      ...empty,
      available_amount: '25.50',
      spend: {
        daily: { spent_amount: '0.00', limit_amount: '10.00' },
        monthly: { spent_amount: '0.00', limit_amount: '200.50' },
      },
    });
  });

  it('is paid in once by a reference, also when it comes many times at once', async () => {
    const { customerId } = await api.customer();
    const other = await api.customer();
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => credit(customerId, { amount: '5', reference: 'payment 1' })),
    );
    expect(replies.map(({ status }) => status)).to.deep.equal(Array.from({ length: 10 }, () => 201));
    expect(new Set(replies.map(({ body }) => body.id)).size).to.equal(1);
    const changed = await credit(customerId, { amount: '6', reference: 'payment 1' });
    expect(changed.body.error.details).to.deep.equal([
      { path: 'reference', message: 'was used before, with another amount' },
    ]);
    expect(
      (await credit(other.customerId, { amount: '6', reference: 'payment 1' })).status,
      'of another customer',
    ).to.equal(201);
    expect((await api.admin('GET', `/customers/${customerId}/balance`)).body.available_amount).to.equal(
      '5.00',
    );
  });

  it('is taken back with a reason, and never more than there is', async () => {
    const { customerId } = await api.customer();
    await credit(customerId, { amount: '5' });
    expect((await credit(customerId, { amount: '-1' })).body.error.details).to.deep.equal([
      { path: 'reason', message: 'is required when the amount is negative' },
    ]);
    const { body } = await credit(customerId, { amount: '-1.000001', reason: 'a mistake' });
    expect(body).to.deep.include({
      kind: 'adjustment',
      debit: 'available',
      credit: 'top_up',
      amount: '1.000001',
      reason: 'a mistake',
    });
    const tooMuch = await credit(customerId, { amount: '-4', reason: 'all of it' });
    expect([tooMuch.status, tooMuch.body.error.code]).to.deep.equal([402, 'insufficient_balance']);
    expect((await api.admin('GET', `/customers/${customerId}/balance`)).body.available_amount).to.equal(
      '3.999999',
    );
    const takes = await Promise.all(
      Array.from({ length: 8 }, () => credit(customerId, { amount: '-1', reason: 'one more' })),
    );
    expect(takes.filter(({ status }) => status === 201)).to.have.length(3);
  });

  it('is refused in amounts that are none', async () => {
    const { customerId } = await api.customer();
    for (const amount of [5, '0', '1.0000001', '', '1e3', '99999999999']) {
      expect((await credit(customerId, { amount })).body.error.details[0].path, String(amount)).to.equal(
        'amount',
      );
    }
    expect(
      (await credit(customerId, { amount: '1', reference: 'call_1/0/hold' })).body.error.details[0].path,
    ).to.equal('reference');
    for (const [method, path, body] of [
      ['POST', 'credits', { amount: '1' }],
      ['GET', 'ledger', undefined],
      ['GET', 'balance', undefined],
    ] as const) {
      expect((await api.admin(method, `/customers/cust_nobody/${path}`, body)).body.error).to.include({
        code: 'not_found',
        message: 'customer not found',
      });
    }
  });

  it('has an end, and what would go beyond it is refused by its field', async () => {
    const { customerId } = await api.customer();
    await credit(customerId, { amount: '1' });
    await api
      .db('accounts')
      .where({ customer_id: customerId, kind: 'available' })
      .update({ balance_micros: '9223372036854775000' });
    const { status, body } = await credit(customerId, { amount: '9999999999.999999' });
    expect([status, body.error.code, body.error.details[0].path]).to.deep.equal([
      400,
      'invalid_request',
      'amount',
    ]);
    expect((await api.admin('GET', `/customers/${customerId}/balance`)).body.available_amount).to.equal(
      '9223372036854.775',
    );
  });

  it('can be followed, newest first, page by page', async () => {
    const { customerId } = await api.customer();
    for (let n = 1; n <= 5; n++) await credit(customerId, { amount: `${n}`, reference: `n${n}` });
    const first = (await api.admin('GET', `/customers/${customerId}/ledger?limit=3`)).body;
    expect(first.data.map((t: { reference: string }) => t.reference)).to.deep.equal(['n5', 'n4', 'n3']);
    const second = (
      await api.admin('GET', `/customers/${customerId}/ledger?limit=3&cursor=${first.next_cursor}`)
    ).body;
    expect(second.data.map((t: { reference: string }) => t.reference)).to.deep.equal(['n2', 'n1']);
    expect(second).to.not.have.key('next_cursor');
  });

  describe('as usage', () => {
    let mine: { customerId: string; applicationId: string; key: string };
    before(async () => {
      mine = await api.customer();
      const call = (
        id: string,
        seconds: number,
        endedAt: string,
        cost: number | null,
        applicationId = mine.applicationId,
      ) => ({
        id,
        customer_id: mine.customerId,
        application_id: applicationId,
        direction: 'outbound',
        from_number: '+1',
        to_number: '+2',
        status: 'completed',
        route_mode: 'webhook',
        routing_target: '',
        metadata: '{}',
        variables: '{}',
        event_counts: '{}',
        created_at: new Date(endedAt),
        answered_at: seconds === 0 ? null : new Date(Date.parse(endedAt) - seconds * 1000),
        ended_at: new Date(endedAt),
        cost_micros: cost,
        cost_currency: cost === null ? null : 'EUR',
      });
      await api
        .db('calls')
        .insert([
          call('call_early', 10, '2026-04-30T23:59:59.999Z', 1_000_000),
          call('call_first', 10.2, '2026-05-01T00:00:00.000Z', 100_000),
          call('call_free', 60, '2026-05-15T00:00:00.000Z', null),
          call('call_unanswered', 0, '2026-05-15T00:00:00.000Z', 0),
          call('call_last', 20, '2026-05-31T23:59:59.999Z', 2_000_001),
          call('call_late', 10, '2026-06-01T00:00:00.000Z', 1_000_000),
          call('call_other', 10, '2026-05-15T00:00:00.000Z', 1_000_000, 'app_other'),
          call('call_open', 10, '2026-05-15T00:00:00.000Z', 1_000_000),
        ]);
      await api.db('holds').insert({
        call_id: 'call_open',
        leg: 1,
        customer_id: mine.customerId,
        direction: 'outbound',
        number: '+2',
        rate_id: 'rate_1',
        price_micros: 1,
        fee_micros: 0,
        minimum_seconds: 0,
        increment_seconds: 1,
        currency: 'EUR',
        held_micros: 1,
        covered_seconds: 60,
        counted_day: '2026-05-15',
        counted_day_micros: 1,
        counted_month_micros: 1,
        status: 'open',
        created_at: new Date(),
      });
    });

    const usage = (query: string) => api.send('GET', `/v1/usage${query}`, { key: mine.key });

    it('is what the settled calls of the key that ended in the window have cost, its end left out', async () => {
      const { status, body } = await usage('?from=2026-05-01T00:00:00Z&to=2026-06-01T00:00:00Z');
      expect(status).to.equal(200);
      expect(body).to.deep.equal({
        application_id: mine.applicationId,
        from: '2026-05-01T00:00:00Z',
        to: '2026-06-01T00:00:00Z',
        summary: { calls: 3, billsec_seconds: 91, cost_amount: '2.100001', cost_currency: 'EUR' },
      });
    });

    it('adds up over windows that meet', async () => {
      const whole = (await usage('?from=2026-04-01T00:00:00Z&to=2026-07-01T00:00:00Z')).body.summary;
      const parts = await Promise.all(
        [4, 5, 6].map(
          async (month) =>
            (await usage(`?from=2026-0${month}-01T00:00:00Z&to=2026-0${month + 1}-01T02:00:00%2B02:00`)).body
              .summary,
        ),
      );
      expect(parts.reduce((sum, part) => sum + part.calls, 0)).to.equal(whole.calls);
      expect(parts.reduce((sum, part) => sum + part.billsec_seconds, 0)).to.equal(whole.billsec_seconds);
      expect(whole.cost_amount).to.equal('4.100001');
    });

    it('is of this month when nothing is said, and nothing at first', async () => {
      const { key, applicationId } = await api.customer();
      api.clock.offsetMs = Date.parse('2027-02-14T12:00:00Z') - Date.now();
      const { body } = await api.send('GET', '/v1/usage', { key });
      api.clock.offsetMs = 0;
      expect(body).to.deep.equal({
        application_id: applicationId,
        from: '2027-02-01T00:00:00Z',
        to: '2027-03-01T00:00:00Z',
        summary: { calls: 0, billsec_seconds: 0, cost_amount: '0.00', cost_currency: 'EUR' },
      });
      expect((await usage('?to=2026-06-01T00:00:00Z')).body.from).to.equal('2026-05-01T00:00:00Z');
    });

    it('is refused for windows that are none', async () => {
      expect((await usage('?from=yesterday')).body.error.details).to.deep.equal([
        {
          path: 'from',
          message:
            'must be an RFC 3339 time such as 2026-05-01T00:00:00Z; in a URL the + of an offset is written %2B',
        },
      ]);
      expect(
        (await usage('?from=2026-06-01T00:00:00Z&to=2026-06-01T00:00:00Z')).body.error.details,
      ).to.deep.equal([{ path: 'to', message: 'must be after from' }]);
      expect((await usage('?since=2026-06-01T00:00:00Z')).body.error.details[0].path).to.equal('since');
      expect((await api.send('GET', '/v1/usage', { key: OPERATOR })).status).to.equal(401);
    });
  });
});
