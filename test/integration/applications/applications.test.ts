import { expect } from 'chai';
import { OPERATOR, startApi, type TestApi } from '../http/api.ts';

const URLS = {
  answer_url: 'https://app.example.com/answer',
  fallback_url: 'https://app.example.com/fallback',
  webhook_url: 'http://app.example.com/hook',
};

describe('applications', () => {
  let api: TestApi;
  before(async () => {
    api = await startApi({ production: true });
  });
  after(() => api.close());

  it('are created with a key that works and is shown once', async () => {
    const { customerId, key } = await api.customer();
    const { status, body } = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'Reception', ...URLS, answer_method: 'POST', webhook_secret: 'a-secret-of-mine' },
    });
    expect(status).to.equal(201);
    expect(body.id).to.match(/^app_\d{8}T\d{6}\.\d{9}$/);
    expect(body.api_key).to.match(/^mv_live_[0-9A-Za-z]{32}$/);
    expect(body).to.include({
      customer_id: customerId,
      name: 'Reception',
      answer_method: 'POST',
      status: 'active',
      ...URLS,
    });
    const { api_key: own, ...shown } = body;
    expect((await api.send('GET', `/v1/applications/${body.id}`, { key: own })).body).to.deep.equal(shown);
    expect(shown).to.not.have.property('webhook_secret');
  });

  it('need a name and nothing else, and leave out what they do not have', async () => {
    const { key } = await api.customer();
    const { body } = await api.send('POST', '/v1/applications', { key, body: { name: 'Bare' } });
    expect(Object.keys(body)).to.have.members([
      'id',
      'customer_id',
      'name',
      'answer_method',
      'status',
      'created_at',
      'updated_at',
      'api_key',
    ]);
    expect(body.answer_method).to.equal('GET');
    const refused = await api.send('POST', '/v1/applications', { key, body: {} });
    expect(refused.body.error).to.include({ code: 'invalid_request', message: 'name is required' });
    expect((await api.send('POST', '/v1/applications', { key })).body.error.message).to.equal(
      'name is required',
    );
  });

  it('keep neither keys nor secrets in the clear', async () => {
    const { key } = await api.customer();
    const { body } = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'x', webhook_secret: 'a-secret-of-mine' },
    });
    const stored = JSON.stringify([await api.db('applications'), await api.db('api_keys')]);
    expect(stored).to.not.include(body.api_key.slice(8));
    expect(stored).to.not.include('a-secret-of-mine');
    expect((await api.stores.applications.get(body.id))?.webhookSecrets).to.deep.equal(['a-secret-of-mine']);
  });

  it('are seen by every key of their customer, and by no other customer', async () => {
    const mine = await api.customer('Mine');
    const other = await api.customer('Other');
    const { body } = await api.send('POST', '/v1/applications', { key: mine.key, body: { name: 'Second' } });
    expect(
      (await api.send('GET', '/v1/applications', { key: mine.key })).body.data.map(
        (a: { id: string }) => a.id,
      ),
    ).to.deep.equal([body.id, mine.applicationId]);
    expect(
      (await api.send('GET', '/v1/applications', { key: other.key })).body.data.map(
        (a: { id: string }) => a.id,
      ),
    ).to.deep.equal([other.applicationId]);
    for (const [method, path, sent] of [
      ['GET', '', undefined],
      ['PATCH', '', { name: 'stolen' }],
      ['POST', '/rotate-key', {}],
      ['POST', '/rotate-webhook-secret', {}],
    ] as const) {
      const reply = await api.send(method, `/v1/applications/${body.id}${path}`, {
        key: other.key,
        body: sent,
      });
      expect([reply.status, reply.body.error.code], `${method} ${path}`).to.deep.equal([404, 'not_found']);
    }
    expect((await api.stores.applications.get(body.id))?.name).to.equal('Second');
  });

  it('change field by field, and null takes away', async () => {
    const { key } = await api.customer();
    const {
      body: { id },
    } = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'x', ...URLS, webhook_secret: 'a-secret-of-mine' },
    });
    const changed = await api.send('PATCH', `/v1/applications/${id}`, {
      key,
      body: { fallback_url: null, answer_url: 'https://new.example.com/', webhook_secret: null },
    });
    expect(changed.body).to.include({
      name: 'x',
      answer_url: 'https://new.example.com/',
      webhook_url: URLS.webhook_url,
    });
    expect(changed.body).to.not.have.property('fallback_url');
    expect((await api.stores.applications.get(id))?.webhookSecrets).to.deep.equal([]);
    const same = await api.send('PATCH', `/v1/applications/${id}`, { key, body: {} });
    expect(same.body).to.include({ name: 'x', answer_url: 'https://new.example.com/' });
  });

  it('have limits of their own where they are given any, and lose them again', async () => {
    const { key } = await api.customer();
    const { body } = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'x', max_cps: 3, max_concurrent: 20 },
    });
    expect(body).to.include({ max_cps: 3, max_concurrent: 20 });
    const changed = await api.send('PATCH', `/v1/applications/${body.id}`, { key, body: { max_cps: null } });
    expect(changed.body).to.include({ max_concurrent: 20 }).and.to.not.have.property('max_cps');
    for (const wrong of [{ max_cps: 0 }, { max_cps: 1.5 }, { max_concurrent: -1 }, { max_concurrent: '5' }]) {
      const {
        status,
        body: { error },
      } = await api.send('PATCH', `/v1/applications/${body.id}`, { key, body: wrong });
      expect([status, error.code, error.details[0].path]).to.deep.equal([
        400,
        'invalid_request',
        Object.keys(wrong)[0],
      ]);
    }
  });

  it('take URLs that can be asked, and name the field of one that cannot', async () => {
    const { key, applicationId } = await api.customer();
    for (const url of [
      '',
      'nonsense',
      'ftp://app.example.com/',
      'wss://app.example.com/',
      'javascript:alert(1)',
      'https://',
      'https://user:pass@app.example.com/',
      'http://127.0.0.1/',
      'http://localhost:8080/',
      'http://10.0.0.1/',
      'http://[::1]/',
      'http://169.254.169.254/latest',
      'http://2130706433/',
      'http://0x7f.1/',
      'https://app.example.com:6379/',
      `https://app.example.com/${'x'.repeat(2048)}`,
    ]) {
      for (const field of ['answer_url', 'fallback_url', 'webhook_url']) {
        const created = await api.send('POST', '/v1/applications', {
          key,
          body: { name: 'x', [field]: url },
        });
        const changed = await api.send('PATCH', `/v1/applications/${applicationId}`, {
          key,
          body: { [field]: url },
        });
        for (const { status, body } of [created, changed])
          expect([status, body.error?.details[0].path], url).to.deep.equal([400, field]);
      }
    }
  });

  it('are refused unknown fields and a status or method that is none', async () => {
    const { key, applicationId } = await api.customer();
    const { body } = await api.send('PATCH', `/v1/applications/${applicationId}`, {
      key,
      body: {
        status: 'paused',
        answer_method: 'PUT',
        customer_id: 'cust_1',
        api_key: 'x',
        webhook_secret: 'short',
      },
    });
    expect(body.error.details.map((d: { path: string }) => d.path)).to.have.members([
      'status',
      'answer_method',
      'customer_id',
      'api_key',
      'webhook_secret',
    ]);
  });

  it('open nothing with their keys while disabled: not to come back, not to take the key of another', async () => {
    const { key, applicationId } = await api.customer();
    const sibling = (await api.send('POST', '/v1/applications', { key, body: { name: 'Second' } })).body;
    await api.send('PATCH', `/v1/applications/${applicationId}`, {
      key: sibling.api_key,
      body: { status: 'disabled' },
    });
    for (const [method, path, body] of [
      ['PATCH', `/v1/applications/${applicationId}`, { status: 'active' }],
      ['POST', `/v1/applications/${applicationId}/rotate-key`, {}],
      ['POST', `/v1/applications/${sibling.id}/rotate-key`, {}],
      ['POST', `/v1/applications/${sibling.id}/rotate-webhook-secret`, {}],
      ['GET', `/v1/applications/${sibling.id}`, undefined],
      ['GET', '/v1/applications', undefined],
      ['GET', '/v1/trunks', undefined],
      ['GET', '/v1/balance', undefined],
      ['POST', '/v1/trunks', { name: 'x', proxy: 'sip.example.com' }],
    ] as const) {
      const refused = await api.send(method, path, { key, body });
      expect([refused.status, refused.body.error.code], `${method} ${path}`).to.deep.equal([
        403,
        'application_disabled',
      ]);
    }
    expect(
      (await api.send('GET', '/v1/trunks', { key: sibling.api_key })).status,
      'the key of the other one works',
    ).to.equal(200);
    await api.send('PATCH', `/v1/applications/${applicationId}`, {
      key: sibling.api_key,
      body: { status: 'active' },
    });
    expect(
      (await api.send('POST', '/v1/trunks', { key, body: { name: 'x', proxy: 'sip.example.com' } })).status,
    ).to.equal(201);
  });

  it('are enabled again, and given a new key, by the operator', async () => {
    const { key, applicationId } = await api.customer();
    await api.send('PATCH', `/v1/applications/${applicationId}`, { key, body: { status: 'disabled' } });
    expect((await api.admin('GET', `/applications/${applicationId}`)).body.status).to.equal('disabled');
    expect(
      (await api.admin('PATCH', `/applications/${applicationId}`, { status: 'active' })).body,
    ).to.include({ id: applicationId, status: 'active' });
    expect((await api.send('GET', '/v1/applications', { key })).status).to.equal(200);
    const rotated = (await api.admin('POST', `/applications/${applicationId}/rotate-key`, {})).body.api_key;
    expect((await api.send('GET', '/v1/applications', { key })).status).to.equal(401);
    expect((await api.send('GET', '/v1/applications', { key: rotated })).status).to.equal(200);
  });

  it('have a name that can be seen', async () => {
    const { key, applicationId } = await api.customer();
    for (const name of ['', '   ', '\u00a0\u3000', '\u200b', '\u0000', '\n\t']) {
      for (const [method, path, as] of [
        ['POST', '/v1/applications', key],
        ['PATCH', `/v1/applications/${applicationId}`, key],
        ['POST', '/admin/v1/customers', OPERATOR],
      ] as const) {
        const reply = await api.send(method, path, { key: as, body: { name } });
        expect(
          [reply.status, reply.body.error.details[0].path],
          `${method} ${path} ${JSON.stringify(name)}`,
        ).to.deep.equal([400, 'name']);
      }
      for (const body of [
        { name, proxy: 'x.example' },
        { name: 'x', proxy: 'x.example', username: name, password: 'secret' },
      ]) {
        expect((await api.send('POST', '/v1/trunks', { key, body })).status, JSON.stringify(body)).to.equal(
          400,
        );
      }
    }
  });

  it('are also made and listed by the operator, for a customer that exists', async () => {
    const { customerId, applicationId } = await api.customer();
    expect(
      (await api.admin('GET', `/customers/${customerId}/applications`)).body.data.map(
        (a: { id: string }) => a.id,
      ),
    ).to.deep.equal([applicationId]);
    expect(
      (await api.admin('POST', '/customers/cust_nobody/applications', { name: 'x' })).body.error,
    ).to.include({ code: 'not_found', message: 'customer not found' });
    expect((await api.admin('GET', '/customers/cust_nobody/applications')).status).to.equal(404);
  });

  describe('rotating the key', () => {
    const works = async (key: string): Promise<boolean> =>
      (await api.send('GET', '/v1/applications', { key })).status === 200;
    const rotate = async (id: string, key: string, body?: unknown): Promise<string> =>
      (await api.send('POST', `/v1/applications/${id}/rotate-key`, { key, body })).body.api_key;

    it('ends the old one at once by default', async () => {
      const { key, applicationId } = await api.customer();
      expect(await works(key)).to.equal(true);
      const next = await rotate(applicationId, key);
      expect([await works(key), await works(next)]).to.deep.equal([false, true]);
    });

    it('lets the old one work for as long as asked', async () => {
      const { key, applicationId } = await api.customer();
      const next = await rotate(applicationId, key, { grace_seconds: 600 });
      api.clock.offsetMs += 590_000;
      expect([await works(key), await works(next)]).to.deep.equal([true, true]);
      api.clock.offsetMs += 20_000;
      expect([await works(key), await works(next)]).to.deep.equal([false, true]);
      api.clock.offsetMs = 0;
    });

    it('does not lengthen the life of a key that is already ending', async () => {
      const { key, applicationId } = await api.customer();
      const second = await rotate(applicationId, key, { grace_seconds: 60 });
      await rotate(applicationId, second, { grace_seconds: 86_400 });
      api.clock.offsetMs += 70_000;
      expect([await works(key), await works(second)]).to.deep.equal([false, true]);
      api.clock.offsetMs = 0;
    });

    it('leaves one key without an end, however many ask at once', async () => {
      const { key, applicationId } = await api.customer();
      await Promise.all(
        Array.from({ length: 20 }, () =>
          api.send('POST', `/v1/applications/${applicationId}/rotate-key`, {
            key,
            body: { grace_seconds: 60 },
          }),
        ),
      );
      const endless: { n: number }[] = await api
        .db('api_keys')
        .where({ application_id: applicationId })
        .whereNull('expires_at')
        .count('* as n');
      expect(Number(endless[0]?.n)).to.equal(1);
    });

    it('knows a grace of 0 to 86400 seconds', async () => {
      const { key, applicationId } = await api.customer();
      for (const grace_seconds of [-1, 86_401, 1.5, '60']) {
        expect(
          (
            await api.send('POST', `/v1/applications/${applicationId}/rotate-key`, {
              key,
              body: { grace_seconds },
            })
          ).status,
          String(grace_seconds),
        ).to.equal(400);
      }
    });
  });

  describe('rotating the webhook secret', () => {
    const secrets = async (id: string): Promise<readonly string[] | undefined> =>
      (await api.stores.applications.get(id))?.webhookSecrets;

    it('lets both sign for a day, the new one first', async () => {
      const { key } = await api.customer();
      const {
        body: { id },
      } = await api.send('POST', '/v1/applications', {
        key,
        body: { name: 'x', webhook_secret: 'first-secret' },
      });
      const reply = await api.send('POST', `/v1/applications/${id}/rotate-webhook-secret`, {
        key,
        body: { webhook_secret: 'second-secret' },
      });
      expect(reply.body).to.not.have.property('webhook_secret');
      expect(await secrets(id)).to.deep.equal(['second-secret', 'first-secret']);
      const held = await api.stores.applications.get(id);
      api.clock.offsetMs += 25 * 3600 * 1000;
      expect(held?.webhookSecrets, 'an application held in memory forgets it too').to.deep.equal([
        'second-secret',
      ]);
      api.clock.offsetMs = 0;
    });

    it('makes one where none is given, and shows it this once', async () => {
      const { key, applicationId } = await api.customer();
      const { body } = await api.send('POST', `/v1/applications/${applicationId}/rotate-webhook-secret`, {
        key,
      });
      expect(body.webhook_secret).to.match(/^whsec_[A-Za-z0-9_-]{43}$/);
      expect(await secrets(applicationId)).to.deep.equal([body.webhook_secret]);
      expect((await api.send('GET', `/v1/applications/${applicationId}`, { key })).body).to.not.have.property(
        'webhook_secret',
      );
    });
  });

  it('tell of every change once it is written', async () => {
    const { key, applicationId } = await api.customer();
    await api.send('PATCH', `/v1/applications/${applicationId}`, { key, body: { name: 'y' } });
    await api.send('POST', `/v1/applications/${applicationId}/rotate-webhook-secret`, { key });
    await api.send('POST', `/v1/applications/${applicationId}/rotate-key`, { key });
    expect(api.changes.filter((change) => change.id === applicationId)).to.have.length(4);
  });

  it('are all loaded at once, for the directory', async () => {
    const { customerId, applicationId } = await api.customer();
    const all = await api.stores.applications.loadAll();
    expect(all.find((application) => application.id === applicationId)).to.include({
      customerId,
      name: 'First',
      answerMethod: 'GET',
      status: 'active',
      answerUrl: undefined,
    });
    expect((await api.send('GET', '/admin/v1/customers', { key: OPERATOR })).body.count).to.equal(
      (await api.stores.customers.loadAll()).length,
    );
  });
});
