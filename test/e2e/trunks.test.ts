import { expect } from 'chai';
import { codeOf, RawSip, requestText } from '../integration/kamailio/raw-sip.ts';
import { guarded, md5, SipCarrier } from '../integration/kamailio/sip-carrier.ts';
import { header } from '../../cli/phone/sip-message.ts';
import { done, endedCallTo, inside, sip, until, type Json, type Tenant } from './platform.ts';
import { closing, stage, type Stage } from './stage.ts';

describe('trunks', () => {
  let first: SipCarrier;
  let second: SipCarrier;
  let own: Tenant;
  let dial: Stage['dial'];

  beforeEach(async () => {
    ({ own, dial } = await stage());
    first = closing(await SipCarrier.open('127.0.0.3'));
    second = closing(await SipCarrier.open('127.0.0.4', { transport: 'tcp' }));
  });
  // With trunks that may call in from anywhere strangers are answered differently.
  afterEach(async () => {
    for (const { id } of (await done('GET', '/v1/trunks', undefined, own.key)).data as Json[])
      await done('DELETE', `/v1/trunks/${String(id)}`, undefined, own.key);
  });

  const trunk = (carrier: SipCarrier, more: Json = {}): Promise<Json> =>
    done(
      'POST',
      '/v1/trunks',
      {
        name: 'out',
        proxy: carrier.wire.address,
        port: carrier.wire.port,
        transport: carrier.wire.transport,
        ...more,
      },
      own.key,
    );

  it('a second leg shows its carrier who we are, with the numbers this carrier wants, and ends there as it ends here', async () => {
    await trunk(first, {
      username: 'mini',
      password: 'se"cr;et',
      from_domain: 'customer.example',
      number_format: 'national',
      country: 'DE',
      caller_id: 'did',
    });
    first.script(guarded(407, 'mini', 'se"cr;et'));
    const call = await dial([{ transfer: { destination: '+493012345601' } }]);
    const invite = await first.request('INVITE', 1);
    expect(invite.uri).to.equal(first.uri('03012345601'));
    expect(header(invite, 'from')).to.match(
      new RegExp(`^<sip:00${own.number.slice(1)}@customer\\.example>;tag=`),
    );
    expect(invite.text).not.to.include(inside.media).and.not.to.include('X-MV');
    await first.request('ACK', 1);
    await call.hangup();
    const bye = await first.request('BYE');
    expect(parseInt(header(bye, 'cseq') ?? '')).to.be.greaterThan(parseInt(header(invite, 'cseq') ?? ''));
    expect(header(bye, 'from')).to.equal(header(invite, 'from'));
    expect((await endedCallTo(own)).status).to.equal('completed');
  });

  it('the next carrier is tried when one cannot, over its own transport', async () => {
    await trunk(first, { priority: 1 });
    await trunk(second, { priority: 2 });
    first.script(() => ['503 Full']);
    const call = await dial([{ transfer: { destination: '+493012345601' } }]);
    await second.request('ACK');
    expect(await second.wire.until(() => first.got('INVITE').length || undefined, 'the first try')).to.equal(
      1,
    );
    await call.hangup();
    await second.request('BYE');
  });

  it('their status says whether they are there', async () => {
    const there = await trunk(first);
    const nobody = await trunk(first, { port: 9 });
    const status = async ({ id }: Json): Promise<unknown> =>
      (await done('GET', `/v1/trunks/${String(id)}`, undefined, own.key)).status;
    await until(async () => (await status(there)) === 'up', 'the trunk to be up');
    await until(async () => (await status(nobody)) === 'down', 'the trunk to be down', 30_000);
    expect(await status(there)).to.equal('up');
  });

  it('a trunk without an address calls in with its credentials, from anywhere', async () => {
    await trunk(first, { username: `in${process.pid}`, password: 'right', probe: false });
    await done(
      'PATCH',
      `/v1/dids/${own.didId}`,
      { route_mode: 'reject', route_target: { sip_code: 486 } },
      own.key,
    );
    const anywhere = closing(await RawSip.open('127.0.0.66'));
    const uri = `sip:${own.number}@127.0.0.1`;
    const challenge = await anywhere.ask(requestText(anywhere, { uri, callId: 'e2e@in' }), sip);
    expect(codeOf(challenge)).to.equal(401);
    const nonce = /nonce="([^"]+)"/.exec(challenge)?.[1] ?? '';
    const response = md5(`${md5(`in${process.pid}:minivoice:right`)}:${nonce}:${md5(`INVITE:${uri}`)}`);
    const authorization = `Authorization: Digest username="in${process.pid}", realm="minivoice", nonce="${nonce}", uri="${uri}", response="${response}"`;
    expect(
      codeOf(
        await anywhere.ask(requestText(anywhere, { uri, callId: 'e2e@in', headers: [authorization] }), sip),
      ),
    ).to.equal(486);
  });
});
