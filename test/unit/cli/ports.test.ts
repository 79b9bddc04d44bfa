import { expect } from 'chai';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { Failure } from '../../../cli/failure.ts';
import { assertFree, parseBase, portsFrom, SPAN, takenPort } from '../../../cli/ports.ts';

describe('ports of an instance', () => {
  it('are the well-known ones for the API and SIP, and from 20000 on for the rest', () => {
    const ports = portsFrom(undefined);
    expect(ports).to.include({ api: 8080, sip: 5060, edge: 20002 });
    expect(ports.rtp).to.deep.equal({ first: 20400, last: 21999 });
    expect(ports.mediaRtp).to.deep.equal({ first: 22000, last: 22998 });
  });

  it('all follow a base that is given, within its span and without touching each other', () => {
    const ports = portsFrom(30000);
    expect(ports).to.include({ api: 30000, sip: 30001 });
    const single = Object.values(ports).filter((port) => typeof port === 'number');
    expect(new Set(single).size).to.equal(single.length);
    expect(Math.max(...single)).to.be.below(ports.rtp.first);
    expect(ports.rtp.last).to.be.below(ports.mediaRtp.first);
    expect(ports.mediaRtp.last).to.be.below(30000 + SPAN);
  });

  it('start at an even number, since RTP does', () => {
    expect(portsFrom(parseBase('23000')).mediaRtp.first % 2).to.equal(0);
    for (const bad of ['23001', '80', '65000', 'x', '1e9', '-2'])
      expect(() => parseBase(bad), bad).to.throw(Failure, /MINIVOICE_PORT_BASE/);
    expect(parseBase(undefined)).to.equal(undefined);
    expect(parseBase('')).to.equal(undefined);
  });

  it('name a taken one and the process that has it in one sentence', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const ports = { ...portsFrom(undefined), api: port };
    try {
      expect(await takenPort(ports, ['api'])).to.deep.include({ port, protocol: 'tcp' });
      const error = await assertFree(ports, ['api']).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).to.be.instanceOf(Failure);
      expect((error as Failure).message).to.match(
        new RegExp(`^Port ${port}/tcp, for the API, is taken by .* \\(pid ${process.pid}\\): .*\\.$`),
      );
    } finally {
      server.close();
    }
    await once(server, 'close');
    expect(await takenPort(ports, ['api'])).to.equal(undefined);
  });
});
