import { expect } from 'chai';
import { SipCarrier } from '../integration/kamailio/sip-carrier.ts';
import { header, type HeaderLine } from '../../cli/phone/sip-message.ts';
import { spoken } from '../../cli/phone/voice.ts';
import { done, endedCallTo, timeline, type Json, type Tenant } from './platform.ts';
import { closing, stage, type Stage } from './stage.ts';

const SECRET = '+491711234567';

describe('who is calling', () => {
  let carrier: SipCarrier;
  let own: Tenant;
  let dial: Stage['dial'];

  beforeEach(async () => {
    ({ own, dial } = await stage());
    carrier = closing(await SipCarrier.open('127.0.0.3'));
    await done(
      'POST',
      '/v1/trunks',
      { name: 'out', proxy: carrier.wire.address, port: carrier.wire.port, probe: false },
      own.key,
    );
  });

  for (const user of ['John%20Doe', '*31', 'unavailable!', 'user=x&y', "o'neill", 'a~b', '%E2%82%AC']) {
    it(`${user}: may be anything a SIP user can, and is transferred as it is`, async () => {
      const call = await dial([{ transfer: { destination: '+493012345601' } }], { from: user });
      const invite = await carrier.request('INVITE');
      expect(decodeURIComponent(/<sip:([^@>]*)@/.exec(header(invite, 'from') ?? '')?.[1] ?? '')).to.equal(
        decodeURIComponent(user),
      );
      await carrier.request('ACK');
      await call.hangup();
      expect(await endedCallTo(own)).to.include({ status: 'completed', from: user });
    });
  }

  const withheld: [what: string, from: string, headers: HeaderLine[]][] = [
    [
      'a number with Privacy: id',
      SECRET,
      [
        ['Privacy', 'id'],
        ['P-Asserted-Identity', `<sip:${SECRET}@carrier.example>`],
      ],
    ],
    ['a number with Privacy: user', SECRET, [['Privacy', 'user']]],
    ['no number', 'sip:anonymous@anonymous.invalid', []],
  ];
  for (const [what, from, headers] of withheld) {
    for (const action of ['transfer', 'bridge'] as const) {
      it(`${what}: is anonymous to the customer, and goes on by ${action} with a number of the customer's`, async () => {
        const call = await dial([{ [action]: { destination: '+493012345601' } }], { from, headers });
        const invite = await carrier.request('INVITE');
        expect(header(invite, 'from')).to.match(/^"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=/);
        expect(header(invite, 'p-asserted-identity')).to.match(new RegExp(`^<sip:\\${own.number}@`));
        expect(invite.text.match(/^Privacy: .*$/gm)?.map((line) => line.trim())).to.deep.equal([
          'Privacy: id',
        ]);
        await carrier.request('ACK');
        await call.hangup();
        await carrier.request('BYE');
        const record = await endedCallTo(own);
        expect(record.from).to.equal('anonymous');
        expect(own.server.requests[0]?.query.get('from')).to.equal('anonymous');
        const told: Json[] = [
          record,
          ...(await timeline(record.id, own.key)),
          ...own.server.of(record.id).map(({ call: shown, data }) => ({ shown, data })),
        ];
        expect(JSON.stringify(told)).not.to.include(SECRET.slice(3));
        for (const request of carrier.requests) expect(request.text).not.to.include(SECRET.slice(3));
      });
    }
  }

  it('a bridge to a destination whose leg cannot be reached runs what follows it, whoever calls', async () => {
    carrier.script(() => ['486 Busy Here']);
    const call = await dial(
      [{ bridge: { destination: '+493012345601' } }, { say: { text: 'We could not reach them.' } }],
      { from: "o'neill~" },
    );
    await call.heard.waitUntilHears(await spoken('We could not reach them.'), { fraction: 0.7 });
    await call.ended();
    expect((await endedCallTo(own)).status).to.equal('completed');
  });
});
