import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { connect as connectTls, createServer, type Server } from 'node:tls';
import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { header } from '../../../cli/phone/sip-message.ts';
import { ADDRESS, Edge, freePort } from './edge.ts';
import { guarded, SipCarrier } from './sip-carrier.ts';

// Made for these tests: openssl req -x509 -newkey ec … -subj /CN=carrier.invalid, for a hundred years.
const file = (name: string): string => path.join(import.meta.dirname, 'tls', name);

describe('A trunk over TLS', () => {
  let edge: Edge;
  let node: Phone;
  let carrier: SipCarrier;
  let tls: Server;
  let tlsPort: number;

  before(async () => {
    const port = await freePort();
    tlsPort = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      environment: {
        TLS_CERT_FILE: file('cert.pem'),
        TLS_KEY_FILE: file('key.pem'),
        TLS_CA_FILE: file('cert.pem'),
        TLS_PORT: String(tlsPort),
        TRUNK_PROBE_SECONDS: '1',
      },
    });
    carrier = await SipCarrier.open(ADDRESS.operator, { transport: 'tcp' });
    // What it says inside is said to the carrier as it is.
    tls = createServer(
      { cert: readFileSync(file('cert.pem')), key: readFileSync(file('key.pem')) },
      (socket) => {
        const inside = connect({ host: carrier.wire.address, port: carrier.wire.port });
        socket.pipe(inside).pipe(socket);
        for (const end of [socket, inside]) end.on('error', () => undefined);
      },
    );
    tls.listen(0, ADDRESS.operator);
    await once(tls, 'listening');
  });
  after(async () => {
    tls?.close();
    for (const one of [node, carrier]) await one?.close();
    await edge?.stop();
  });

  const outside = (): string => {
    const bound = tls.address();
    return `${ADDRESS.operator}:${typeof bound === 'object' && bound ? bound.port : 0};transport=tls`;
  };

  it('is called, asks for credentials, and is hung up, all over TLS', async () => {
    carrier.contact = `<sip:carrier@${outside()}>`;
    carrier.script(guarded(407, 'mini', 'secret'));
    await edge.carrier('trunk_tls', { username: 'mini', password: 'secret' });
    const call = await node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Targets', `sip:+4930111@${outside()}`],
        ['X-MV-Trunks', 'trunk_tls'],
      ],
    });
    await call.answered();
    expect((await call.final()).headers).to.include({ 'x-mv-trunk': 'trunk_tls' });
    const [, invite] = carrier.invites;
    expect(invite && header(invite, 'via')).to.match(/^SIP\/2\.0\/TLS 127\.0\.0\.1/);
    expect(invite?.text).not.to.include(ADDRESS.media);
    await carrier.request('ACK', 1);
    expect(await call.hangup()).to.equal(200);
    await carrier.request('BYE');
  });

  it('is probed over TLS', async () => {
    await edge.set('probes', 'trunk_tls', `sip:${outside()}`);
    await edge.until(
      async () =>
        JSON.stringify(await edge.rpc('htable.dump', ['trunk_state']).catch(() => '')).includes('up') ||
        undefined,
      'the trunk to be up',
    );
    expect(header(await carrier.request('OPTIONS'), 'via')).to.match(/^SIP\/2\.0\/TLS /);
  });

  it('is registered with over TLS, with a Contact that is reached over TLS', async () => {
    await edge.set(
      'registrations',
      'trunk_tls',
      `sip:carrier.example|sip:${outside()}|sip:mini@carrier.example|reg.token`,
    );
    expect(header(await carrier.request('REGISTER'), 'contact')).to.equal(
      `<sip:reg.token@${ADDRESS.edge}:${tlsPort};transport=tls>`,
    );
  });

  it('finds us on the TLS port with our certificate', async () => {
    const socket = connectTls({
      socket: connect({ host: ADDRESS.edge, port: tlsPort, localAddress: ADDRESS.operator }),
      ca: readFileSync(file('cert.pem')),
      servername: 'carrier.invalid',
    });
    await once(socket, 'secureConnect');
    socket.write(
      `OPTIONS sip:${ADDRESS.edge} SIP/2.0\r\nVia: SIP/2.0/TLS ${ADDRESS.operator}:5061;branch=z9hG4bKtls\r\nMax-Forwards: 70\r\nFrom: <sip:a@b.example>;tag=1\r\nTo: <sip:${ADDRESS.edge}>\r\nCall-ID: tls@x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n`,
    );
    const [reply] = (await once(socket, 'data')) as [Buffer];
    expect(reply.toString()).to.match(/^SIP\/2\.0 200 /);
    socket.destroy();
  });
});
