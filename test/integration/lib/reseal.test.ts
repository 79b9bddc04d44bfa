import { expect } from 'chai';
import { ApplicationStore } from '../../../control/applications/store.ts';
import { createIdempotency } from '../../../control/http/idempotency.ts';
import { reseal } from '../../../control/lib/reseal.ts';
import { createSecrets } from '../../../control/lib/secrets.ts';
import { TrunkStore } from '../../../control/trunks/store.ts';
import { startApi, type TestApi } from '../http/api.ts';

/** The key of `startApi`, and another one. */
const OLD = createSecrets('5a'.repeat(32));
const NEW = createSecrets('6b'.repeat(32));

describe('a change of SECRET_KEY', () => {
  let api: TestApi;
  let application: string;
  let trunk: string;
  const request = { scope: 'operator', key: 'an-order', fingerprint: 'POST /jobs {}' };
  const reply = { status: 201, body: { api_key: 'shown once' } };

  before(async () => {
    api = await startApi();
    const { key } = await api.customer();
    const made = await api.send('POST', '/v1/applications', {
      key,
      body: { name: 'Reception', webhook_secret: 'the-first-secret' },
    });
    application = made.body.id as string;
    await api.send('POST', `/v1/applications/${application}/rotate-webhook-secret`, {
      key,
      body: { webhook_secret: 'the-second-secret' },
    });
    const carrier = await api.send('POST', '/v1/trunks', {
      key,
      body: {
        name: 'Carrier',
        gateway_name: 'carrier',
        proxy: 'sip.example.com',
        username: 'u',
        password: 'pa55word',
      },
    });
    trunk = carrier.body.id as string;
    // One without a password, which there is nothing to do for.
    await api.send('POST', '/v1/trunks', {
      key,
      body: { name: 'Open', gateway_name: 'open', proxy: 'sip.example.com' },
    });
    await createIdempotency(api.db, OLD).run(request, () => Promise.resolve(reply));
  });
  after(() => api.close());

  it('that names another key as the old one changes nothing, and says what it could not read', async () => {
    let error: unknown;
    await reseal(api.db, createSecrets('7c'.repeat(32)), NEW).catch((caught: unknown) => (error = caught));
    expect(String(error)).to.contain(`${trunk}.password: cannot be decrypted`);
    expect((await new TrunkStore(api.db, OLD).get(trunk))?.password).to.equal('pa55word');
  });

  it('leaves every secret readable with the new key, and none with the old one', async () => {
    expect(await reseal(api.db, OLD, NEW)).to.deep.include({ trunks: 1, applications: 2 });
    expect((await new TrunkStore(api.db, NEW).get(trunk))?.password).to.equal('pa55word');
    const found = await new ApplicationStore(api.db, NEW).get(application);
    expect(found?.webhookSecrets).to.deep.equal(['the-second-secret', 'the-first-secret']);
    const again = await createIdempotency(api.db, NEW).run(request, () => {
      throw new Error('it is done a second time');
    });
    expect(again).to.deep.equal({ ...reply, replayed: true });
    const old = await new TrunkStore(api.db, OLD).get(trunk);
    expect(() => old?.password).to.throw(/cannot be decrypted with this SECRET_KEY/);
  });
});
