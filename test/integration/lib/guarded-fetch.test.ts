import http from 'node:http';
import net from 'node:net';
import { expect } from 'chai';
import { createAgents } from '../../../control/lib/guarded-agent.ts';
import {
  checkUrl,
  createGuardedFetch,
  FetchError,
  type FetchRequest,
  type GuardedFetch,
  type GuardedFetchOptions,
} from '../../../control/lib/guarded-fetch.ts';
import { cert, key } from './receiver-certificate.ts';
import { Receiver } from './receiver.ts';

describe('guarded fetch', () => {
  const cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  const receiver = async (...args: Parameters<typeof Receiver.start>): Promise<Receiver> => {
    const started = await Receiver.start(...args);
    cleanUps.push(() => started.stop());
    return started;
  };
  const rawReceiver = async (onConnection: (socket: net.Socket) => void): Promise<Receiver> => {
    const started = await Receiver.startRaw(net.createServer(onConnection));
    cleanUps.push(() => started.stop());
    return started;
  };
  const guarded = (options: Partial<GuardedFetchOptions> = {}): GuardedFetch['fetch'] => {
    const made = createGuardedFetch({ allowPrivate: true, ...options });
    cleanUps.push(() => made.close());
    return made.fetch;
  };
  const failure = async (
    fetch: GuardedFetch['fetch'],
    url: string,
    request?: FetchRequest,
  ): Promise<FetchError> => {
    const result = await fetch(url, request).then(
      (reply) => `status ${reply.status}`,
      (error: unknown) => error,
    );
    if (result instanceof FetchError) return result;
    throw new Error(`expected a FetchError for ${url}, got ${String(result)}`);
  };
  const ok: Parameters<typeof Receiver.start>[0] = (_request, response) => response.end('ok');

  describe('in production', () => {
    it('no notation of a private address is connected to', async () => {
      const target = await receiver(ok);
      const fetch = guarded({ allowPrivate: false });
      for (const host of [
        '127.0.0.1',
        '2130706433',
        '0x7f000001',
        '017700000001',
        '127.1',
        '0x7f.1',
        '127.0.0.1.',
        '[::1]',
        '[::ffff:127.0.0.1]',
        '[::ffff:7f00:1]',
        '[64:ff9b::7f00:1]',
        '0',
        '0.0.0.0',
        '[::]',
        '１２７.０.０.１',
        'localhost',
        'LOCALHOST.',
        'a.localhost',
        '10.0.0.1',
        '169.254.169.254',
        '[fd00:ec2::254]',
      ]) {
        const error = await failure(fetch, `http://${host}:${target.port}/`);
        expect([error.kind, error.connected], host).to.deep.equal(['forbidden_address', false]);
      }
      expect(target.connections).to.equal(0);
    });

    it('a name that resolves to a private address is refused before anything is connected to', async () => {
      const target = await receiver(ok);
      const answers: Record<string, string[]> = {
        'private.test': ['10.1.2.3'],
        'loop.test': ['127.0.0.1'],
        'mixed.test': ['93.184.215.14', '127.0.0.1'],
        'mixed6.test': ['2606:4700::1111', '::ffff:127.0.0.1'],
      };
      const fetch = guarded({ allowPrivate: false, resolve: (name) => Promise.resolve(answers[name] ?? []) });
      for (const name of Object.keys(answers)) {
        const error = await failure(fetch, `http://${name}:${target.port}/`);
        expect([error.kind, error.connected], name).to.deep.equal(['forbidden_address', false]);
        expect(error.message).to.contain(name).and.contain('not a public address');
      }
      expect(target.connections).to.equal(0);
    });

    it('the agents refuse a private address even when asked for it past the URL check', async () => {
      const target = await receiver(ok);
      const agents = createAgents({
        allowPrivate: false,
        resolve: () => Promise.resolve([]),
        connectTimeoutMs: 2000,
        maxSocketsPerHost: 2,
      });
      cleanUps.push(() => agents.destroy());
      const error = await new Promise((resolve) => {
        http
          .get({ host: '127.0.0.1', port: target.port, agent: agents.http }, () => resolve('a reply'))
          .once('error', resolve);
      });
      expect(error).to.include({ kind: 'forbidden_address' });
      expect(target.connections).to.equal(0);
    });
  });

  describe('in development', () => {
    it('loopback is reached, by address and by name', async () => {
      const target = await receiver(ok);
      const fetch = guarded();
      for (const host of ['127.0.0.1', 'localhost', 'customer.localhost']) {
        const reply = await fetch(`http://${host}:${target.port}/`);
        expect([reply.status, reply.body.toString(), reply.address], host).to.deep.equal([
          200,
          'ok',
          '127.0.0.1',
        ]);
      }
    });

    it('other private addresses are still refused, alone and beside loopback', async () => {
      const fetch = guarded({ resolve: () => Promise.resolve(['127.0.0.1', '192.168.1.1']) });
      for (const url of [
        'http://10.0.0.1/',
        'http://192.168.1.1/',
        'http://169.254.169.254/latest/meta-data/',
        'http://[fd00::1]/',
        'http://0.0.0.0/',
        'http://x.test/',
      ]) {
        expect((await failure(fetch, url)).kind, url).to.equal('forbidden_address');
      }
    });
  });

  it('connects to the very address that was checked, whatever the name resolves to a moment later', async () => {
    const checked = await receiver(ok, { host: '127.0.0.2' });
    const answers = [['127.0.0.2'], ['10.0.0.1']];
    let asked = 0;
    const fetch = guarded({ resolve: () => Promise.resolve(answers[Math.min(asked++, 1)] ?? []) });
    const reply = await fetch(`http://rebind.test:${checked.port}/`, { headers: { connection: 'close' } });
    expect([reply.address, asked]).to.deep.equal(['127.0.0.2', 1]);
    expect((await failure(fetch, `http://rebind.test:${checked.port}/`)).kind).to.equal('forbidden_address');
    expect(checked.connections).to.equal(1);
  });

  describe('a redirect', () => {
    const redirecting = (location: string, status = 302): Promise<Receiver> =>
      receiver((request, response) =>
        request.path === '/' ? response.writeHead(status, { location }).end() : response.end(request.method),
      );

    it('to a private address, or a name that resolves to one, is refused', async () => {
      const fetch = guarded({ resolve: () => Promise.resolve(['10.0.0.1']) });
      for (const location of [
        'http://10.0.0.1/',
        '//169.254.169.254/latest/',
        'http://inside.test/',
        'http://[::ffff:10.0.0.1]/',
      ]) {
        const from = await redirecting(location);
        const error = await failure(fetch, from.url(), { maxRedirects: 3 });
        expect([error.kind, error.connected], location).to.deep.equal(['forbidden_address', true]);
      }
    });

    it('to another scheme, with credentials or to nonsense is refused', async () => {
      for (const location of [
        'file:///etc/passwd',
        'gopher://127.0.0.1:70/',
        'http://user:password@127.0.0.1/',
        'http://',
      ]) {
        const from = await redirecting(location);
        expect((await failure(guarded(), from.url(), { maxRedirects: 3 })).kind, location).to.equal(
          'invalid_url',
        );
      }
    });

    it('is a reply like any other where none are followed', async () => {
      const from = await redirecting('/next');
      const reply = await guarded()(from.url());
      expect([reply.status, reply.headers.location, reply.redirects]).to.deep.equal([302, '/next', 0]);
    });

    it('keeps or changes the method by the rules of fetch', async () => {
      for (const [status, method, expected] of [
        [301, 'POST', 'GET'],
        [302, 'POST', 'GET'],
        [303, 'POST', 'GET'],
        [307, 'POST', 'POST'],
        [308, 'POST', 'POST'],
        [301, 'GET', 'GET'],
        [303, 'GET', 'GET'],
        [307, 'GET', 'GET'],
      ] as const) {
        const from = await redirecting('/next', status);
        const reply = await guarded()(from.url(), {
          method,
          maxRedirects: 1,
          headers: method === 'POST' ? { 'Content-Type': 'text/plain' } : {},
          body: method === 'POST' ? 'the body' : undefined,
        });
        const last = from.requests[1];
        expect([reply.body.toString(), reply.redirects, reply.url], `${method} ${status}`).to.deep.equal([
          expected,
          1,
          from.url('/next'),
        ]);
        expect([last?.body, last?.headers['content-type']], `${method} ${status}`).to.deep.equal(
          expected === 'POST' ? ['the body', 'text/plain'] : ['', undefined],
        );
      }
    });

    it('to another origin takes no authorization along, and no cookie is ever kept', async () => {
      const to = await receiver(ok);
      const from = await receiver((request, response) => {
        response
          .writeHead(302, { location: request.path === '/' ? '/again' : to.url('/'), 'set-cookie': 'a=b' })
          .end();
      });
      await guarded()(from.url(), {
        maxRedirects: 3,
        headers: { Authorization: 'Bearer x', 'X-Kept': 'yes' },
      });
      expect(
        from.requests.map((request) => [request.headers.authorization, request.headers.cookie]),
      ).to.deep.equal([
        ['Bearer x', undefined],
        ['Bearer x', undefined],
      ]);
      expect([
        to.requests[0]?.headers.authorization,
        to.requests[0]?.headers.cookie,
        to.requests[0]?.headers['x-kept'],
      ]).to.deep.equal([undefined, undefined, 'yes']);
    });

    it('too many of them are an error that says so', async () => {
      const from = await receiver((_request, response) => response.writeHead(302, { location: '/' }).end());
      const error = await failure(guarded(), from.url(), { maxRedirects: 3 });
      expect([error.kind, from.requests.length]).to.deep.equal(['too_many_redirects', 4]);
    });
  });

  describe('bounds', () => {
    it('a reply beyond the limit is not read on, whether it says its length or not', async () => {
      for (const headers of [{}, { 'content-length': String(1 << 30) }]) {
        const endless = await receiver((_request, response) => {
          response.writeHead(200, headers);
          const write = (): void => {
            while (!response.destroyed && response.write(Buffer.alloc(16_384)));
          };
          response.on('drain', write);
          write();
        });
        const error = await failure(guarded(), endless.url());
        expect([error.kind, error.connected]).to.deep.equal(['too_large', true]);
        await endless.until(() => endless.open === 0 || undefined, 'the connection to be closed');
      }
    });

    it('a reply of just the limit is whole, and a longer one is cut where that was asked for', async () => {
      const target = await receiver((request, response) =>
        response.end(Buffer.alloc(request.path === '/fits' ? 1000 : 5000, 'x')),
      );
      const whole = await guarded()(target.url('/fits'), { maxBodyBytes: 1000 });
      expect([whole.body.length, whole.truncated]).to.deep.equal([1000, false]);
      const cut = await guarded()(target.url('/longer'), { maxBodyBytes: 1000, partial: { withinMs: 1000 } });
      expect([cut.status, cut.body.length, cut.truncated]).to.deep.equal([200, 1000, true]);
    });

    it('one clock runs over redirects, headers and body', async () => {
      const silent = await receiver(() => {});
      const slowBody = await receiver((_request, response) => response.writeHead(200).write('x'));
      const redirecting = await receiver((_request, response) =>
        response.writeHead(307, { location: silent.url() }).end(),
      );
      for (const target of [silent, slowBody, redirecting]) {
        const error = await failure(guarded(), target.url(), { timeoutMs: 150, maxRedirects: 1 });
        expect([error.kind, error.connected]).to.deep.equal(['timeout', true]);
      }
    });

    it('connecting has its own limit, name look-up and TLS included', async () => {
      const mute = await rawReceiver(() => {});
      const fetch = guarded({ connectTimeoutMs: 100, resolve: () => new Promise(() => {}) });
      const lookingUp = await failure(fetch, 'http://slow.test/');
      expect([lookingUp.kind, lookingUp.connected]).to.deep.equal(['connect_timeout', false]);
      const handshaking = await failure(fetch, `https://127.0.0.1:${mute.port}/`);
      expect([handshaking.kind, handshaking.connected]).to.deep.equal(['connect_timeout', true]);
    });

    it('no more connections to one host than allowed, and the other requests wait for them', async () => {
      const waiting: http.ServerResponse[] = [];
      const target = await receiver((_request, response) => waiting.push(response));
      const fetch = guarded({ maxSocketsPerHost: 2 });
      const replies = Promise.all(Array.from({ length: 6 }, () => fetch(target.url())));
      for (let answered = 0; answered < 6; answered++)
        (await target.until(() => waiting.shift(), 'a request')).end('ok');
      expect((await replies).map((reply) => reply.status)).to.deep.equal([200, 200, 200, 200, 200, 200]);
      expect(target.connections).to.be.at.most(2);
    });
  });

  describe('replies as lenient servers send them', () => {
    const HELLO = 'Content-Length: 5\r\n\r\nhello';
    const raw = (text: string): Promise<Receiver> =>
      rawReceiver((socket) => socket.on('error', () => {}).once('data', () => socket.write(text)));

    it('are taken as other clients take them, and a connection that was not left in order is not used again', async () => {
      const replies: [what: string, text: string, status: number, body: string][] = [
        [
          'a length beside chunks',
          'HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
          200,
          'hello',
        ],
        ['lines that end in LF', 'HTTP/1.1 200 OK\nX: y\nContent-Length: 5\n\nhello', 200, 'hello'],
        ['bytes behind the body', `HTTP/1.1 200 OK\r\n${HELLO} and more`, 200, 'hello'],
        [
          'bytes behind a body that closes',
          `HTTP/1.1 200 OK\r\nConnection: close\r\n${HELLO} and more`,
          200,
          'hello',
        ],
        ['204 with a body', `HTTP/1.1 204 No Content\r\n${HELLO}`, 204, ''],
        [
          '204 with chunks',
          'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
          204,
          '',
        ],
        ['a header in two lines', `HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n${HELLO}`, 200, 'hello'],
      ];
      for (const [what, text, status, body] of replies) {
        const fetch = guarded();
        const target = await raw(text);
        for (let i = 0; i < 2; i++) {
          const reply = await fetch(target.url(), { method: 'POST', body: 'x', timeoutMs: 1500 }).catch(
            (error: unknown) => error as FetchError,
          );
          if (reply instanceof FetchError) {
            // Only the first request on a connection is answered: so the first left its connection in order.
            expect([i, reply.kind], `${what}: ${reply.message}`).to.deep.equal([1, 'timeout']);
            expect(target.connections, what).to.equal(1);
          } else {
            expect([reply.status, reply.body.toString()], what).to.deep.equal([status, body]);
          }
        }
      }
    });

    it('cost the next request nothing when bytes come late that do not belong to them', async () => {
      for (const head of [
        'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
      ]) {
        let late: (() => void) | undefined;
        const target = await rawReceiver((socket) =>
          socket
            .on('error', () => {})
            .on('data', () => {
              socket.write(head);
              late = () => socket.write('hello');
            }),
        );
        const fetch = guarded();
        for (let i = 0; i < 3; i++) {
          const { status } = await fetch(target.url(), { method: 'POST', body: 'x', idempotent: true });
          expect(status).to.be.oneOf([200, 204]);
          late?.();
        }
      }
    });

    it('are refused with the cause where nobody could take them', async () => {
      for (const [text, message] of [
        [
          'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
          'the reply is not valid HTTP: it has two Content-Length headers (HPE_UNEXPECTED_CONTENT_LENGTH)',
        ],
        [
          'ICY 200 OK\r\n\r\n',
          'the reply is not valid HTTP: it does not begin with "HTTP/", or there is more than Content-Length says (HPE_INVALID_CONSTANT)',
        ],
        [
          'HTTP/2 200 OK\r\n\r\n',
          'the reply is not valid HTTP: its HTTP version is neither 1.0 nor 1.1 (HPE_INVALID_VERSION)',
        ],
        [
          'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello',
          'no complete reply within 1500 ms: status 200 and 5 bytes had come (Content-Length: 9)',
        ],
        [
          'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello',
          'no complete reply within 1500 ms: status 200 and 5 bytes had come (Transfer-Encoding: identity)',
        ],
      ]) {
        expect(
          (await failure(guarded(), (await raw(text ?? '')).url(), { timeoutMs: 1500 })).message,
        ).to.equal(message);
      }
    });

    it('count by their status where that was asked for, whatever becomes of the body', async () => {
      const partial = { withinMs: 50 };
      for (const [head, status] of [
        ['HTTP/1.1 200 OK\r\n', 200],
        ['HTTP/1.1 200 OK\r\nContent-Length: 99\r\n', 200],
        ['HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n', 503],
      ] as const) {
        const body = head.includes('chunked') ? '2\r\nhi\r\n' : 'hi';
        const endless = await raw(`${head}\r\n${body}`);
        const reply = await guarded()(endless.url(), { partial, timeoutMs: 5000 });
        expect([reply.status, reply.body.toString(), reply.truncated], head).to.deep.equal([
          status,
          'hi',
          true,
        ]);
        await endless.until(() => endless.open === 0 || undefined, 'the connection to be closed');
        const cutOff = await rawReceiver((socket) =>
          socket.on('error', () => {}).once('data', () => socket.end(`${head}\r\n${body}`)),
        );
        const cut = await guarded()(cutOff.url(), { partial: { withinMs: 5000 }, timeoutMs: 5000 });
        expect([cut.status, cut.body.toString()], head).to.deep.equal([status, 'hi']);
      }
    });
  });

  describe('connections', () => {
    it('are used again', async () => {
      const target = await receiver(ok);
      const fetch = guarded();
      for (let i = 0; i < 5; i++) await fetch(target.url(), { method: 'POST', body: 'x' });
      expect(target.connections).to.equal(1);
    });

    it('that the server closed meanwhile cost a GET or a repeatable POST nothing, and nothing else is sent twice', async () => {
      // Answers the first request on each connection and drops the connection at the second.
      const target = await rawReceiver((socket) => {
        let requests = 0;
        socket
          .on('error', () => {})
          .on('data', () =>
            ++requests === 1
              ? socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
              : socket.destroy(),
          );
      });
      const fetch = guarded();
      await fetch(target.url());
      expect((await fetch(target.url())).status).to.equal(200);
      expect((await fetch(target.url(), { method: 'POST', body: 'x', idempotent: true })).status).to.equal(
        200,
      );
      expect(target.connections).to.equal(3);
      const error = await failure(fetch, target.url(), { method: 'POST', body: 'x' });
      expect([error.kind, error.connected, target.connections]).to.deep.equal(['reset', true, 3]);
    });

    it('are made with TLS to the checked address under the name of the URL', async () => {
      const target = await receiver(ok, { tls: { key, cert } });
      const resolve = () => Promise.resolve(['127.0.0.1']);
      const reply = await guarded({ ca: cert, resolve })(`https://receiver.test:${target.port}/`);
      expect([reply.status, reply.address]).to.deep.equal([200, '127.0.0.1']);
      for (const [options, host] of [
        [{ ca: cert, resolve }, 'other.test'],
        [{ resolve }, 'receiver.test'],
      ] as const) {
        expect((await failure(guarded(options), `https://${host}:${target.port}/`)).kind, host).to.equal(
          'tls',
        );
      }
      expect(target.requests).to.have.length(1);
    });
  });

  describe('failures', () => {
    it('say what went wrong, and whether anything was connected to', async () => {
      const plain = await receiver(ok);
      const dropping = await rawReceiver((socket) => socket.once('data', () => socket.destroy()));
      const cutting = await receiver((_request, response) =>
        response.writeHead(200, { 'content-length': 100 }).write('x', () => response.destroy()),
      );
      const babbling = await rawReceiver((socket) =>
        socket.on('error', () => {}).once('data', () => socket.end('220 mail.test ESMTP\r\n')),
      );
      const boasting = await receiver((_request, response) =>
        response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end(),
      );
      const gone = await Receiver.start(ok);
      const goneUrl = gone.url();
      await gone.stop();
      const refuse = () =>
        Promise.reject(Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' }));
      for (const [url, kind, connected] of [
        [goneUrl, 'connect', false],
        ['http://unknown.test/', 'dns', false],
        [`https://127.0.0.1:${plain.port}/`, 'tls', true],
        [dropping.url(), 'reset', true],
        [cutting.url(), 'reset', true],
        [babbling.url(), 'bad_response', true],
        [boasting.url(), 'too_large', true],
        ['http://user@127.0.0.1/', 'invalid_url', false],
        ['ftp://127.0.0.1/', 'invalid_url', false],
        ['http://127.0.0.1:25/', 'invalid_url', false],
        ['not a url', 'invalid_url', false],
      ] as const) {
        const error = await failure(guarded({ resolve: refuse }), url);
        expect([error.kind, error.connected], url).to.deep.equal([kind, connected]);
        expect(error.message, url).to.match(/\w/);
      }
    });

    it('a redirect that leads nowhere was connected all the same', async () => {
      const from = await receiver((_request, response) =>
        response.writeHead(302, { location: 'http://unknown.test/x' }).end(),
      );
      const error = await failure(guarded({ resolve: () => Promise.resolve([]) }), from.url(), {
        maxRedirects: 1,
      });
      expect([error.kind, error.connected, error.url]).to.deep.equal(['dns', true, 'http://unknown.test/x']);
    });

    it('a request that is given up ends at once and closes its connection', async () => {
      const silent = await receiver(() => {});
      const early = await failure(guarded(), silent.url(), { signal: AbortSignal.abort() });
      expect([early.kind, silent.connections]).to.deep.equal(['aborted', 0]);
      const giveUp = new AbortController();
      const running = failure(guarded(), silent.url(), { signal: giveUp.signal });
      await silent.until(() => silent.requests[0], 'the request');
      giveUp.abort();
      expect((await running).kind).to.equal('aborted');
      await silent.until(() => silent.open === 0 || undefined, 'the connection to be closed');
    });
  });

  it('sends the headers it was given, asks for no compression and sends no more than the body', async () => {
    const target = await receiver(ok);
    await guarded()(target.url('/path?q=1'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-One': '1', 'Accept-Encoding': 'gzip' },
      body: '{"ä":1}',
    });
    const [request] = target.requests;
    expect([request?.method, request?.path, request?.body]).to.deep.equal(['POST', '/path?q=1', '{"ä":1}']);
    expect(request?.headers).to.include({
      'content-type': 'application/json',
      'x-one': '1',
      'accept-encoding': 'identity',
      'user-agent': 'MiniVoice',
      'content-length': '8',
    });
  });

  it('a URL can be checked before it is saved', () => {
    const check = (url: string, allowPrivate = false, schemes?: string[]): string => {
      try {
        return checkUrl(url, { allowPrivate, schemes }).href;
      } catch (error) {
        return error instanceof FetchError ? error.kind : String(error);
      }
    };
    expect(check('https://example.com/answer?x=1')).to.equal('https://example.com/answer?x=1');
    expect(check('http://example.com')).to.equal('http://example.com/');
    expect(check('wss://example.com/stream', false, ['wss'])).to.equal('wss://example.com/stream');
    expect(check('https://example.com/stream', false, ['wss'])).to.equal('invalid_url');
    expect(check('http://127.0.0.1:3000/', true)).to.equal('http://127.0.0.1:3000/');
    expect(check('http://127.0.0.1:3000/')).to.equal('forbidden_address');
    expect(check('http://10.0.0.1/', true)).to.equal('forbidden_address');
    expect(check(`https://example.com/${'x'.repeat(2048)}`)).to.equal('invalid_url');
    expect(
      check(`https://example.com/?${'\u0444'.repeat(400)}`),
      'longer than that when it is sent',
    ).to.equal('invalid_url');
    for (const url of [
      '',
      '/relative',
      'javascript:alert(1)',
      'https://',
      'https://user:pass@example.com/',
      'http://example.com:0/',
    ])
      expect(check(url), url).to.equal('invalid_url');
  });
});
