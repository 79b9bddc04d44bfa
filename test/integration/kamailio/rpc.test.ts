import { expect } from 'chai';
import { connect } from 'node:net';
import { once } from 'node:events';
import { request } from 'node:http';
import { Edge, NUMBER } from './edge.ts';

interface HttpReply {
  status: number;
  body: string;
}

/** One HTTP request from a loopback address of choice. */
async function http(
  url: string,
  options: { method?: string; body?: string; from?: string } = {},
): Promise<HttpReply> {
  const asked = request(url, {
    method: options.method ?? (options.body === undefined ? 'GET' : 'POST'),
    localAddress: options.from ?? '127.0.0.1',
    timeout: 3000,
    agent: false,
  });
  asked.on('timeout', () => asked.destroy(new Error('no answer')));
  asked.end(options.body);
  const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream & { statusCode: number }];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
}

describe('The JSON-RPC interface of the SIP edge', () => {
  let edge: Edge;
  const version = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'core.version' });

  before(async () => {
    edge = await Edge.start();
  });
  after(async () => edge?.stop());

  it("serves the control plane's address alone", async () => {
    expect((await http(edge.rpcUrl, { body: version })).body).to.include('kamailio');
    for (const path of ['RPC', 'metrics', '', 'TABLES/check', 'TABLES/push', 'TABLES/entries']) {
      expect(
        await http(edge.rpcUrl.replace('RPC', path), { body: version, from: '127.0.0.2' }),
        path,
      ).to.deep.equal({ status: 403, body: '127.0.0.2 is not in CONTROL_IPS of this Kamailio\n' });
    }
  });

  it('tells in the log whom it does not serve', async () => {
    await http(edge.rpcUrl, { body: version, from: '127.0.0.2' });
    await edge.until(
      () =>
        Promise.resolve(edge.log.includes('JSON-RPC refused: 127.0.0.2 is not in CONTROL_IPS') || undefined),
      'the line',
    );
  });

  it('is not served on the port SIP is spoken on', async () => {
    const reply = await http(`http://${edge.sip.host}:${edge.sip.port}/RPC`, { body: version });
    expect(reply.status).to.equal(403);
    expect((await http(`http://${edge.sip.host}:${edge.sip.port}/metrics`)).status).to.equal(403);
  });

  it('answers 400 to what is no single request, instead of nothing', async () => {
    for (const body of [
      '',
      'not json',
      '{',
      '[]',
      `[${version}]`,
      ` \n[${version},${version}]`,
      '"text"',
      '7',
    ]) {
      expect((await http(edge.rpcUrl, { body })).status, body).to.equal(400);
    }
  });

  it('takes no table that it does not know, and nothing without a body', async () => {
    const tables = (what: string): string => edge.rpcUrl.replace('RPC', `TABLES/${what}`);
    for (const what of ['check', 'push', 'entries']) {
      expect((await http(tables(what))).status, what).to.equal(400);
      expect((await http(tables(what), { body: '' })).status, what).to.equal(400);
    }
    expect((await http(tables('dump'), { body: '1\n' })).status).to.equal(404);
    const nonsense = await http(tables('push'), { body: '9999\t\tafter\nz1\tx\nz1\tsomething\nx\n\r\r\r' });
    expect(nonsense).to.deep.equal({ status: 200, body: `${nonsense.body.split('\n')[0]}\n+\n` });
    for (const body of ['\t\t\t', '\n\n', '\r', 'x', '\0', '9999\tdigest']) {
      for (const what of ['check', 'push', 'entries'])
        expect((await http(tables(what), { body })).status, `${what} ${JSON.stringify(body)}`).to.equal(200);
    }
    expect(await edge.rpc('core.version')).to.be.a('string');
  });

  it('answers errors with a status and with words', async () => {
    const unknown = await http(edge.rpcUrl, {
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'no.such' }),
    });
    expect(unknown.status).to.be.oneOf([404, 405, 500]);
    expect(JSON.parse(unknown.body)).to.have.nested.property('error.message');
    const missing = await http(edge.rpcUrl, {
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'htable.delete', params: ['dids', '+49999'] }),
    });
    expect(missing.status).to.equal(404);
  });

  it('has no other page than its own and the metrics', async () => {
    expect((await http(edge.rpcUrl.replace('RPC', 'elsewhere'))).status).to.equal(404);
    expect((await http(edge.rpcUrl.replace('RPC', 'RPC/x'), { body: version })).status).to.equal(404);
    const metrics = await http(edge.rpcUrl.replace('RPC', 'metrics'));
    expect(metrics.status).to.equal(200);
    expect(metrics.body).to.match(/^kamailio_dialog_active_dialogs 0 /m);
  });

  it('speaks no SIP on its port', async () => {
    const url = new URL(edge.rpcUrl);
    const socket = connect({ host: url.hostname, port: Number(url.port), localAddress: '127.0.0.2' });
    let heard = '';
    socket.on('data', (chunk) => (heard += chunk.toString()));
    await once(socket, 'connect');
    socket.write(
      `OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.2:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: rpc@port\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n`,
    );
    // It has been read once a request after it has been answered.
    await http(edge.rpcUrl, { body: version });
    const gone = await edge.rpc('core.version');
    expect(gone).to.be.a('string');
    socket.destroy();
    expect(heard).to.equal('');
  });

  it('makes a change effective at once', async () => {
    const started = Date.now();
    await edge.set('dids', NUMBER.unknown, 'r;cust_a;486');
    expect(JSON.stringify(await edge.rpc('htable.get', ['dids', NUMBER.unknown]))).to.include('r;cust_a;486');
    expect(Date.now() - started).to.be.lessThan(1000);
  });

  it('takes several addresses, with commas and with spaces', async () => {
    for (const CONTROL_IPS of [
      '127.0.0.3,127.0.0.2,127.0.0.1',
      '127.0.0.3 127.0.0.2 127.0.0.1',
      ' 127.0.0.3, 127.0.0.2 ,127.0.0.1 ',
    ]) {
      const other = await Edge.start({ synced: false, environment: { CONTROL_IPS } });
      try {
        for (const [from, status] of [
          ['127.0.0.2', 200],
          ['127.0.0.3', 200],
          ['127.0.0.9', 403],
        ] as const) {
          expect(
            (await http(other.rpcUrl, { body: version, from })).status,
            `${from} of ${CONTROL_IPS}`,
          ).to.equal(status);
        }
      } finally {
        await other.stop();
      }
    }
  });

  it('leaves no other way in: no FIFO and no local socket', async () => {
    expect(await edge.runFiles()).to.deep.equal(['dispatcher.list', 'kamailio.pid']);
  });
});
