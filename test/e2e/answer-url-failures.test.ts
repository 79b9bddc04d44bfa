import { expect } from 'chai';
import { spoken } from '../../cli/phone/voice.ts';
import { endedCallTo, timeline, type Json, type Tenant } from './platform.ts';
import { stage, type Stage } from './stage.ts';

describe('a customer whose server fails', () => {
  let own: Tenant;
  let place: Stage['place'];
  let dial: Stage['dial'];

  beforeEach(async () => void ({ own, place, dial } = await stage()));

  /**
   * Calls and expects the refusal of an unanswered call; returns what the timeline says of the answer_url.
   */
  async function refused(): Promise<Json[]> {
    const call = await place();
    const final = await call.final();
    expect(final.code).to.equal(480);
    expect(final.headers, 'a fault of one customer pauses no carrier').not.to.have.property('retry-after');
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'answer_url_error' });
    expect((await own.server.webhook(record.id, 'call.failed')).data).to.include({
      code: 'answer_url_error',
      sip_code: 480,
    });
    return (await timeline(record.id, own.key)).filter(({ kind }) => kind === 'answer_url.failed');
  }

  it('silent: the caller is refused after 5 s', async () => {
    own.server.answers.set('/answer', () => undefined);
    expect((await refused())[0]).to.include({ error: 'timeout' });
  });

  it('not reachable: refused, after one retry', async () => {
    const { server } = own;
    own.server.close();
    ({ own, place } = await stage({ answer_url: `${server.base}/answer` }));
    expect(await refused()).to.have.length(2);
  });

  it('not 2xx: refused, and the developer sees the reply', async () => {
    own.server.answers.set('/answer', (_request, response) => response.writeHead(502).end('bad gateway'));
    expect((await refused())[0]).to.include({ error: 'status', status: 502, reply: 'bad gateway' });
  });

  it('not JSON: refused', async () => {
    own.server.answers.set('/answer', (_request, response) => response.end('<html>'));
    expect((await refused())[0]).to.include({ error: 'invalid_json' });
  });

  it('an invalid action: refused, with its path', async () => {
    own.server.answers.set('/answer', [{ say: { text: 'fine' } }, { say: { text: '' } }]);
    expect((await refused())[0]).to.have.nested.property('details[0].path', 'actions[1].say.text');
  });

  it('too large: refused', async () => {
    own.server.answers.set('/answer', (_request, response) =>
      response.end(`{"actions":[]}${' '.repeat(300_000)}`),
    );
    expect((await refused())[0]).to.include({ error: 'too_large' });
  });

  it('redirecting to a private address: refused', async () => {
    own.server.answers.set('/answer', (_request, response) =>
      response.writeHead(302, { location: 'http://192.168.0.1/' }).end(),
    );
    expect((await refused())[0]).to.include({ error: 'forbidden_address' });
  });

  it('with a fallback_url: the fallback drives the call', async () => {
    const spare = own;
    ({ own, place } = await stage({ fallback_url: `${spare.server.base}/spare` }));
    own.server.answers.set('/answer', (_request, response) => response.writeHead(500).end());
    spare.server.answers.set('/spare', [{ say: { text: 'Our systems are down. Please call later.' } }]);
    const call = await place();
    await call.answered();
    await call.heard.waitUntilHears(await spoken('Our systems are down. Please call later.'));
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
    expect(spare.server.requests[0]?.query.get('error_code')).to.equal('answer_url_error');
  });

  it('in a redirect: the answered call is hung up, failed', async () => {
    own.server.answers.set('/broken', (_request, response) => response.writeHead(404).end());
    const call = await dial([
      { say: { text: 'One moment please.' } },
      { redirect: { url: `${own.server.base}/broken` } },
    ]);
    await call.heard.waitUntilHears(await spoken('One moment please.'));
    await call.ended();
    const record = await endedCallTo(own);
    expect(record).to.include({ status: 'failed' });
    expect(record.failure).to.include({ code: 'answer_url_error' });
    expect(record.billsec_seconds).to.be.greaterThan(0);
  });

  it('its webhooks alone: the call is not touched, and they arrive once it is back', async () => {
    own.server.refuseWebhooks = 1;
    const call = await dial([{ say: { text: 'All is well here.' } }]);
    await call.heard.waitUntilHears(await spoken('All is well here.'));
    await call.ended();
    const { id } = await endedCallTo(own);
    await own.server.webhook(id, 'call.created', 25_000); // refused once, sent again after 5 s
    await own.server.webhook(id, 'call.completed');
    const created = own.server.of(id).find(({ event }) => event === 'call.created');
    expect(created?.headers['x-minivoice-attempt']).to.equal('2');
  }).timeout(40_000);
});
