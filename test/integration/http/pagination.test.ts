import { expect } from 'chai';
import fc from 'fast-check';
import { startApi, type TestApi } from './api.ts';

describe('lists', () => {
  let api: TestApi;
  const created: string[] = [];

  before(async () => {
    api = await startApi();
    for (let i = 0; i < 23; i++)
      created.unshift((await api.admin('POST', '/customers', { name: `Customer ${i}` })).body.id);
  });
  after(() => api.close());

  it('show everything once, newest first, whatever the page size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 30 }), async (limit) => {
        const seen: string[] = [];
        let cursor: string | undefined;
        do {
          const { body } = await api.admin(
            'GET',
            `/customers?limit=${limit}${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
          );
          expect(body.count).to.equal(body.data.length);
          expect(body.count).to.be.at.most(limit);
          seen.push(...body.data.map((customer: { id: string }) => customer.id));
          cursor = body.next_cursor;
        } while (cursor !== undefined);
        expect(seen).to.deep.equal(created);
      }),
      { numRuns: 12 },
    );
  });

  it('show no page twice while new rows arrive', async () => {
    const first = (await api.admin('GET', '/customers?limit=5')).body;
    const late = (await api.admin('POST', '/customers', { name: 'Late' })).body.id;
    const second = (await api.admin('GET', `/customers?limit=50&cursor=${first.next_cursor}`)).body;
    expect([...first.data, ...second.data].map((customer: { id: string }) => customer.id)).to.deep.equal(
      created,
    );
    created.unshift(late);
  });

  it('have 50 on a page unless told otherwise, and no cursor on the last', async () => {
    const { body } = await api.admin('GET', '/customers');
    expect(body.count).to.equal(created.length);
    expect(body).to.not.have.property('next_cursor');
  });

  it('refuse a limit, a cursor or a filter they do not know', async () => {
    for (const [query, path] of [
      ['limit=0', 'limit'],
      ['limit=201', 'limit'],
      ['limit=ten', 'limit'],
      ['limit=1.5', 'limit'],
      ['cursor=!!!', 'cursor'],
      ['cursor=', 'cursor'],
      [`cursor=${Buffer.from("x' or 1=1").toString('base64url')}`, 'cursor'],
      ['stauts=active', 'stauts'],
      ['cursor=a&cursor=b', 'cursor'],
    ] as const) {
      const { status, body } = await api.admin('GET', `/customers?${query}`);
      expect([status, body.error.code, body.error.details[0].path], query).to.deep.equal([
        400,
        'invalid_request',
        path,
      ]);
    }
  });
});
