import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { CONTROL, HOST, missing } from './network.ts';
import { NameServer } from './name-server.ts';
import { Site, SIP } from './site.ts';

/** An address of the outside where nobody is. */
const NOBODY = '198.51.100.9';

describe('A trunk whose name leads to several servers, the first of which is dead', function () {
  this.timeout(90_000);
  let site: Site;
  let names: NameServer;
  let carrier: Phone;
  let first: Phone;

  before(async function () {
    const why = await missing();
    if (why) {
      console.log(`      not tried here: ${why}`);
      this.skip();
    }
    site = await Site.open('embedded', { TARGET_SILENCE_MS: '1000', TRUNK_PROBE_SECONDS: '3' });
    carrier = await Phone.open({ address: HOST.carrier, port: 5066 });
    first = await Phone.open({ address: HOST.carrier2, port: 5066 });
    names = await NameServer.open(CONTROL.here, {
      'two.test': { a: [NOBODY, HOST.carrier] },
      '_sip._udp.srv.test': {
        srv: [
          [10, 0, 5066, 'dead.test'],
          [20, 0, 5066, 'alive.test'],
        ],
      },
      'srv.test': {},
      'late.test': { a: [HOST.carrier2, HOST.carrier] },
      'full.test': { a: [HOST.carrier2, HOST.carrier] },
      'dead.test': { a: [NOBODY] },
      'alive.test': { a: [HOST.carrier] },
    });
  });
  after(async () => {
    names?.close();
    await Promise.all([carrier?.close(), first?.close()]);
    await site?.close();
  });

  beforeEach(() => {
    for (const phone of [carrier, first]) phone.forget();
    carrier.listen('answer');
  });

  const trunkAt = async (proxy: string, port: number | undefined): Promise<string> =>
    String(
      (
        await site.api('POST', '/v1/trunks', {
          name: proxy,
          gateway_name: `gw-${proxy}`,
          proxy,
          ...(port && { port }),
        })
      ).id,
    );
  const place = async (trunk_id: string): Promise<string> =>
    String(
      (
        await site.api('POST', '/v1/calls', {
          from: '+15551230001',
          to: '+15551239999',
          trunk_id,
          actions: [{ pause: { seconds: 60 } }],
        })
      ).id,
    );

  for (const [what, proxy, port] of [
    ['two addresses', 'two.test', 5066],
    ['two targets of SRV', 'srv.test', undefined],
  ] as const) {
    it(`is reached where it lives, and is up: ${what} (RFC 3263 §4.3)`, async () => {
      const trunk = await trunkAt(proxy, port);
      for (let i = 0; i < 2; i++) {
        const id = await place(trunk);
        const far = await carrier.incoming();
        await far.answered();
        await site.status(id, 'in_progress');
        await far.heard.until(() => far.heard.packets > 10 || undefined, 'audio', 5000);
        await site.api('POST', `/v1/calls/${id}/hangup`, {});
        expect(await far.ended()).to.include({ by: 'remote', how: 'bye' });
      }
      let status: unknown;
      const isUp = async (): Promise<true | undefined> => {
        ({ status } = await site.api('GET', `/v1/trunks/${trunk}`));
        return status === 'up' || undefined;
      };
      await site.until(isUp, () => `up; it is ${String(status)}`, 30_000);
      await site.noDialogs();
    });
  }

  it('goes on to the next server after a 503 of one, and not after a refusal', async () => {
    const trunk = await trunkAt('full.test', 5066);
    first.listen({ refuse: 503 });
    const id = await place(trunk);
    const far = await carrier.incoming();
    await far.answered();
    expect(first.received).to.have.length(1);
    await site.status(id, 'in_progress');
    expect(await far.hangup()).to.equal(200);
    await site.status(id, 'completed');

    first.listen({ refuse: 486 });
    const refused = await site.status(await place(trunk), 'failed');
    expect(refused.failure).to.include({ code: 'busy' });
    expect(carrier.received).to.have.length(1);
    await site.noDialogs();
  });

  it('a server that answers after the next one has taken the call is hung up, and the call is unharmed', async () => {
    const trunk = await trunkAt('late.test', 5066);
    first.listen('deaf');
    const id = await place(trunk);
    const far = await carrier.incoming();
    await far.answered();
    await site.status(id, 'in_progress');
    const late = await first.incoming();
    const invite = first.messages.find(({ received, text }) => received && text.startsWith('INVITE'));
    if (!invite || !late) throw new Error('the first server was not tried');
    const head = invite.text
      .split('\r\n')
      .filter((line) => /^(Via|From|Call-ID|CSeq|Record-Route):/i.test(line))
      .join('\r\n');
    const to = /^To: .*$/m.exec(invite.text)?.[0].trim() ?? '';
    first.send(
      `SIP/2.0 200 OK\r\n${head}\r\n${to};tag=late\r\nContact: <sip:late@${HOST.carrier2}:5066>\r\nContent-Length: 0\r\n\r\n`,
      SIP,
    );
    await first.message((text) => text.startsWith('BYE ') && text.includes('tag=late'));
    const heard = far.heard.packets;
    await far.heard.until(() => far.heard.packets > heard + 10 || undefined, 'audio after that', 5000);
    expect((await site.api('GET', `/v1/calls/${id}`)).status).to.equal('in_progress');
    expect(await far.hangup()).to.equal(200);
    await site.status(id, 'completed');
    await site.noDialogs();
  });
});
