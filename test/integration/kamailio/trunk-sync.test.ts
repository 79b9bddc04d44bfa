import { Writable } from 'node:stream';
import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { Directory } from '../../../control/directory/directory.ts';
import { EdgeSync } from '../../../control/edge/edge-sync.ts';
import { KamailioRpc } from '../../../control/edge/kamailio-rpc.ts';
import { Legs } from '../../../control/placing/legs.ts';
import { TrunkStates } from '../../../control/edge/trunk-states.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';
import { Phone } from '../../support/phone.ts';
import { header, type HeaderLine } from '../../../cli/phone/sip-message.ts';
import { ADDRESS, Edge, freePort, TOKEN } from './edge.ts';
import { guarded, SipCarrier } from './sip-carrier.ts';

const PASSWORD = 'p|a;s"s\\w::o%rd ü{}$1';
const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
const call = {
  id: 'call_1',
  customerId: 'cust_a',
  direction: 'outbound',
  from: '+15551111',
  to: '+493012345601',
} as Call;

describe('Trunks as the control plane pushes them', () => {
  let edge: Edge;
  let node: Phone;
  let carrier: SipCarrier;
  let directory: Directory;
  let sync: EdgeSync;
  let states: TrunkStates;
  let trunk: Trunk;
  let log = '';
  const noted: string[] = [];
  const logger = pino(
    { level: 'trace' },
    new Writable({ write: (chunk: Buffer, _encoding, done) => ((log += chunk.toString()), done()) }),
  );

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    carrier = await SipCarrier.open(ADDRESS.operator);
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      synced: false,
      environment: { TRUNK_PROBE_SECONDS: '1' },
    });
    trunk = {
      id: 'trunk_1',
      customerId: undefined,
      name: 'Carrier',
      gatewayName: 'carrier',
      proxy: ADDRESS.operator,
      port: carrier.wire.port,
      transport: 'udp',
      username: 'mini user',
      password: PASSWORD,
      realm: undefined,
      fromDomain: 'carrier.example',
      inboundIp: undefined,
      country: 'DE',
      register: true,
      priority: 1,
      weight: 1,
      numberFormat: 'national',
      callerId: 'passthrough',
      callerIdNumber: undefined,
      maxCps: undefined,
      maxConcurrent: 3,
      retryOn404: false,
      probe: true,
      isActive: true,
      status: 'unknown',
      createdAt: new Date(),
      updatedAt: new Date(),
    };
    directory = new Directory({
      customers: none,
      applications: none,
      dids: none,
      trunks: { loadAll: () => Promise.resolve([trunk]), get: () => Promise.resolve(trunk) },
    });
    await directory.load();
    sync = new EdgeSync(new KamailioRpc(edge.rpcUrl), directory, TOKEN, logger);
    states = new TrunkStates({
      rpcs: [new KamailioRpc(edge.rpcUrl)],
      directory,
      logger,
      note: async (id, status) => {
        noted.push(status);
        trunk = { ...trunk, status };
        await directory.refresh({ room: 'trunks', id });
      },
    });
    sync.start();
    await edge.until(() => Promise.resolve(sync.synced || undefined), 'the tables');
  });
  after(async () => {
    await sync?.stop();
    for (const one of [node, carrier]) await one?.close();
    await edge?.stop();
  });

  it("a call goes out with the trunk's credentials, whatever characters they have, and its numbers", async () => {
    carrier.script(guarded(401, 'mini user', PASSWORD));
    const legs = new Legs({ directory, allowPrivate: true });
    const { uris, from, headers } = legs.via(legs.trunksFor('cust_a'), call, '+493012345601');
    const out = await node.call({
      to: '+493012345601',
      from,
      via: edge.sip,
      headers: [
        ['X-MV-Targets', uris.join('|')],
        ...Object.entries(headers).map(([name, value]): HeaderLine => [name, value]),
      ],
    });
    await out.answered();
    const [, invite] = carrier.invites;
    expect(invite?.uri).to.equal(carrier.uri('03012345601'));
    expect(invite && header(invite, 'from')).to.match(/^<sip:0015551111@carrier\.example>;tag=/);
    expect((await out.final()).headers).to.include({ 'x-mv-trunk': 'trunk_1' });
    await out.hangup();
  });

  it('its state is told when it is news: registered and answering it is up, unregistered it is down, after a restart of the edge as before', async () => {
    const look = async (status: string): Promise<void> =>
      void (await edge.until(async () => {
        await states.look();
        return trunk.status === status || undefined;
      }, `the trunk to be ${status}`));
    carrier.answerOther = (request) =>
      request.method === 'REGISTER'
        ? ['200 OK', [['Contact', `${header(request, 'contact')};expires=600`]]]
        : '200 OK';
    await look('up');
    expect(header(await carrier.request('REGISTER'), 'from')).to.include('<sip:mini%20user@carrier.example>');
    await states.look();
    expect(noted).to.deep.equal(noted.includes('down') ? ['down', 'up'] : ['up']);
    const before = carrier.got('REGISTER').length;
    await edge.stopKamailio('SIGKILL');
    await states.look();
    expect(trunk.status, 'nobody knows better').to.equal('up');
    carrier.answerOther = (request) => (request.method === 'REGISTER' ? '403 Forbidden' : '200 OK');
    await edge.startKamailio();
    await carrier.request('REGISTER', before);
    await look('down');
    trunk = { ...trunk, probe: false, register: false };
    await directory.refresh({ room: 'trunks', id: trunk.id });
    await sync.push();
    await look('unknown');
  });

  it("a trunk that is no longer active leaves nothing in the edge's memory", async () => {
    trunk = { ...trunk, isActive: false };
    await directory.refresh({ room: 'trunks', id: trunk.id });
    await sync.push();
    for (const table of ['carriers', 'credentials', 'logins', 'contacts', 'probes', 'registrations'])
      expect(JSON.stringify(await edge.rpc('htable.dump', [table]).catch(() => [])), table).not.to.include(
        'trunk_1',
      );
  });

  it('no password is in a log, of the control plane or of the edge', async () => {
    trunk = { ...trunk, isActive: true, password: 'unheard of' };
    await edge.stopKamailio('SIGKILL');
    await directory.refresh({ room: 'trunks', id: trunk.id });
    await sync.push();
    expect(sync.synced).to.equal(false);
    for (const secret of [PASSWORD, 'unheard of']) {
      for (const text of [
        secret,
        JSON.stringify(secret).slice(1, -1),
        Buffer.from(secret).toString('base64'),
      ])
        expect(log + edge.log).not.to.include(text);
    }
  });
});
