import { expect } from 'chai';
import { hashApiKey, isApiKey, newApiKey } from '../../../control/http/api-key.ts';
import { createAuthenticator, refuseInactive, type KeyOwner } from '../../../control/http/auth.ts';
import { endpoint, type CustomerCaller } from '../../../control/http/endpoint.ts';
import { ApiError } from '../../../control/lib/errors.ts';

const ADMIN = 'the-operator-token';
const owner: KeyOwner = {
  applicationId: 'app_1',
  applicationStatus: 'active',
  customerId: 'cust_1',
  customerStatus: 'active',
  expiresAt: undefined,
};

function setUp() {
  const key = newApiKey();
  const keys = new Map<string, KeyOwner>([[hashApiKey(key), owner]]);
  const asked: string[] = [];
  let now = 1_000_000;
  const authenticator = createAuthenticator(
    ADMIN,
    async (hash) => {
      asked.push(hash);
      return keys.get(hash);
    },
    () => now,
  );
  return {
    key,
    keys,
    asked,
    authenticator,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

const refusal = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'let through';
  } catch (error) {
    return error instanceof ApiError ? error.code : String(error);
  }
};

describe('API keys', () => {
  it('have 32 random base62 characters after their prefix', () => {
    const keys = Array.from({ length: 200 }, newApiKey);
    expect(keys.every(isApiKey)).to.equal(true);
    expect(new Set(keys).size).to.equal(200);
    expect(new Set(keys.join('').replaceAll('mv_live_', '')).size).to.equal(62);
  });
});

describe('authentication', () => {
  it('resolves a key to its application and customer', async () => {
    const { authenticator, key } = setUp();
    expect(await authenticator.authenticate('customer', `Bearer ${key}`)).to.deep.equal({
      kind: 'customer',
      applicationId: 'app_1',
      applicationStatus: 'active',
      customerId: 'cust_1',
      customerStatus: 'active',
    });
  });

  it('asks the store once while a key is warm, and again when it has cooled', async () => {
    const { authenticator, key, asked, pass } = setUp();
    await Promise.all([1, 2, 3].map(() => authenticator.authenticate('customer', `Bearer ${key}`)));
    await authenticator.authenticate('customer', `Bearer ${key}`);
    expect(asked).to.have.length(1);
    pass(60_000);
    await authenticator.authenticate('customer', `Bearer ${key}`);
    expect(asked).to.have.length(2);
  });

  it('forgets at once what it is told to forget', async () => {
    const { authenticator, key, keys } = setUp();
    await authenticator.authenticate('customer', `Bearer ${key}`);
    keys.clear();
    authenticator.forget();
    expect(await refusal(authenticator.authenticate('customer', `Bearer ${key}`))).to.equal('unauthorized');
  });

  it('ends a rotated key to the millisecond, warm or not', async () => {
    const { authenticator, key, keys, pass } = setUp();
    keys.set(hashApiKey(key), { ...owner, expiresAt: new Date(1_000_000 + 1000) });
    await authenticator.authenticate('customer', `Bearer ${key}`);
    pass(999);
    await authenticator.authenticate('customer', `Bearer ${key}`);
    pass(1);
    expect(await refusal(authenticator.authenticate('customer', `Bearer ${key}`))).to.equal('unauthorized');
  });

  it('keeps no memory of guesses, and asks nobody about what cannot be a key', async () => {
    const { authenticator, asked } = setUp();
    for (let i = 0; i < 50; i++)
      expect(await refusal(authenticator.authenticate('customer', `Bearer ${newApiKey()}`))).to.equal(
        'unauthorized',
      );
    expect(authenticator.size).to.equal(0);
    expect(asked).to.have.length(50);
    for (const header of [
      undefined,
      '',
      'Bearer',
      'Bearer x',
      `Basic ${newApiKey()}`,
      newApiKey(),
      `Bearer ${ADMIN}`,
    ]) {
      expect(await refusal(authenticator.authenticate('customer', header))).to.equal('unauthorized');
    }
    expect(asked).to.have.length(50);
  });

  it('listens no more to an address that tries many wrong keys, but to good ones, for a while', async () => {
    const { authenticator, asked, key, pass } = setUp();
    const GUESSER = '203.0.113.7';
    const tried = (header: string, address: string, kind: 'customer' | 'operator' = 'customer') =>
      refusal(authenticator.authenticate(kind, header, address));
    await authenticator.authenticate('customer', `Bearer ${key}`, GUESSER);
    for (let i = 0; i < 30; i++)
      expect(await tried(`Bearer ${newApiKey()}`, GUESSER)).to.equal('unauthorized');
    asked.length = 0;
    for (let i = 0; i < 50; i++) {
      expect(await tried(`Bearer ${newApiKey()}`, GUESSER)).to.equal('rate_limited');
      expect(await tried('Bearer a-wrong-operator-token', GUESSER, 'operator')).to.equal('rate_limited');
    }
    expect(asked, 'no guess costs a look-up').to.deep.equal([]);
    expect(await authenticator.authenticate('customer', `Bearer ${key}`, GUESSER)).to.include({
      applicationId: 'app_1',
    });
    expect(await authenticator.authenticate('operator', `Bearer ${ADMIN}`, GUESSER)).to.deep.equal({
      kind: 'operator',
    });
    expect(await tried(`Bearer ${newApiKey()}`, '203.0.113.8'), 'of others nothing is held against').to.equal(
      'unauthorized',
    );
    pass(2000);
    expect(await tried(`Bearer ${newApiKey()}`, GUESSER)).to.equal('unauthorized');
    expect(await tried(`Bearer ${newApiKey()}`, GUESSER)).to.equal('rate_limited');
  });

  it('does not remember a look-up that failed', async () => {
    let broken = true;
    const key = newApiKey();
    const authenticator = createAuthenticator(ADMIN, async () => {
      if (broken) throw new Error('the database is away');
      return owner;
    });
    expect(await refusal(authenticator.authenticate('customer', `Bearer ${key}`))).to.match(
      /database is away/,
    );
    broken = false;
    expect(await authenticator.authenticate('customer', `Bearer ${key}`)).to.include({
      applicationId: 'app_1',
    });
  });

  it('still knows a good key while the database hangs or fails, at once after the first time, but not what it was told to forget', async () => {
    const key = newApiKey();
    let now = 1_000_000;
    let found: () => Promise<KeyOwner | undefined> = () => Promise.resolve(owner);
    const authenticator = createAuthenticator(
      ADMIN,
      () => found(),
      () => now,
    );
    const authenticate = () => authenticator.authenticate('customer', `Bearer ${key}`);
    await authenticate();
    for (const outage of [
      () => new Promise<never>(() => undefined),
      () => Promise.reject(new Error('away')),
    ]) {
      found = outage;
      now += 600_000;
      expect(await authenticate()).to.include({ applicationId: 'app_1' });
      expect(
        await Promise.race([authenticate(), new Promise((resolve) => setImmediate(resolve))]),
      ).to.include({ applicationId: 'app_1' });
    }
    // It is asked for again meanwhile: what was taken away is gone as soon as the database says so.
    found = () => Promise.resolve(undefined);
    now += 1001;
    expect(await refusal(authenticate())).to.equal('unauthorized');
    found = () => Promise.resolve(owner);
    await authenticate();
    found = () => Promise.reject(new Error('away'));
    authenticator.forget({ room: 'dids', id: 'did_1' });
    authenticator.forget({ room: 'customers', id: 'cust_2' });
    now += 60_000;
    await authenticate();
    authenticator.forget({ room: 'applications', id: 'app_1' });
    expect(await refusal(authenticate())).to.match(/away/);
  });

  it('lets the operator in by the token alone', async () => {
    const { authenticator, key } = setUp();
    expect(await authenticator.authenticate('operator', `Bearer ${ADMIN}`)).to.deep.equal({
      kind: 'operator',
    });
    for (const header of [undefined, `Bearer ${ADMIN}x`, 'Bearer ', `Bearer ${key}`, ADMIN]) {
      expect(await refusal(authenticator.authenticate('operator', header))).to.equal('unauthorized');
    }
  });
});

describe('who may change things', () => {
  const caller = (more: Partial<CustomerCaller>): CustomerCaller => ({
    kind: 'customer',
    applicationId: 'a',
    customerId: 'c',
    applicationStatus: 'active',
    customerStatus: 'active',
    ...more,
  });
  const of = (method: 'get' | 'post', allowSuspendedCustomer?: boolean) =>
    endpoint({
      method,
      path: '/x',
      auth: 'customer',
      tag: 'X',
      summary: 'x',
      status: 204,
      allowSuspendedCustomer,
      handle: async () => {},
    });

  it('is everybody but suspended customers, who may read, and do what ends a call', () => {
    expect(() => refuseInactive(of('post'), caller({}))).to.not.throw();
    expect(() => refuseInactive(of('post'), caller({ customerStatus: 'suspended' })))
      .to.throw(ApiError)
      .with.property('code', 'customer_suspended');
    expect(() => refuseInactive(of('get'), caller({ customerStatus: 'suspended' }))).to.not.throw();
    expect(() => refuseInactive(of('post', true), caller({ customerStatus: 'suspended' }))).to.not.throw();
  });

  it('is never a disabled application, not even to read', () => {
    for (const endpointOf of [of('post'), of('get'), of('post', true)]) {
      expect(() => refuseInactive(endpointOf, caller({ applicationStatus: 'disabled' })))
        .to.throw(ApiError)
        .with.property('code', 'application_disabled');
    }
  });
});
