import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { checkEvent } from '../support/events.ts';
import { done, tenant, until, type Json, type Tenant } from './platform.ts';

const { api } = JSON.parse(readFileSync(process.env.MINIVOICE_STATUS ?? '', 'utf8')) as { api: string };

describe('webhooks and live events of the whole platform', () => {
  let customer: Tenant;
  before(async () => {
    customer = await tenant();
  });
  after(() => customer.server.close());

  it('a test event is signed, shown as delivered, and comes over the WebSocket', async () => {
    const ws = new WebSocket(`${api.replace('http', 'ws')}/v1/events`, {
      headers: { authorization: `Bearer ${customer.key}` },
    });
    const events: Json[] = [];
    ws.on('message', (data: Buffer) => events.push(JSON.parse(data.toString()) as Json));
    await once(ws, 'open');
    const result = await done('POST', '/v1/webhooks/test', undefined, customer.key);
    expect(result.delivered).to.equal(true);
    const live = await until(
      () => events.find(({ event_id }) => event_id === result.event_id),
      'the test event on the live stream',
    );
    expect(live.event).to.equal('webhook.test');
    const { event_id: _id, ...envelope } = live;
    expect(JSON.stringify(envelope)).to.equal(result.body);
    checkEvent(envelope);
    ws.terminate();
  });
});
