import { expect } from 'chai';
import { EslConnection, type EslConnectionOptions } from '../../../../control/media/esl/connection.ts';
import { EslError } from '../../../../control/media/esl/errors.ts';
import type { EslEvent } from '../../../../control/media/esl/events.ts';
import { FakeEsl } from '../fake-esl.ts';

const failure = (promise: Promise<unknown>): Promise<EslError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => (error instanceof EslError ? error : Promise.reject(error as Error)),
  );

describe('an event socket connection', () => {
  let node: FakeEsl;
  let events: EslEvent[];
  let closed: EslError[];
  let connection: EslConnection | undefined;

  const open = async (options: Partial<EslConnectionOptions> = {}): Promise<EslConnection> => {
    connection = await EslConnection.open({
      host: '127.0.0.1',
      port: node.port,
      password: 'secret',
      events: ['CHANNEL_PARK', 'DTMF'],
      onEvent: (event) => {
        events.push(event);
        node.changed();
      },
      onClose: (reason) => {
        closed.push(reason);
        node.changed();
      },
      openMs: 1000,
      commandMs: 1000,
      keepAliveMs: 10_000,
      maxPending: 100,
      ...options,
    });
    return connection;
  };

  beforeEach(async () => {
    node = await FakeEsl.start();
    events = [];
    closed = [];
  });

  afterEach(async () => {
    connection?.close();
    connection = undefined;
    await node.close();
  });

  it('logs in and subscribes to a short list of events', async () => {
    await open();
    expect(node.commands).to.deep.equal(['auth secret', 'event json BACKGROUND_JOB CHANNEL_PARK DTMF']);
  });

  it('hears of everything but the end of the applications named, from the first event on', async () => {
    await open({ unheard: ['ring_ready', 'park'] });
    expect(node.commands).to.deep.equal([
      'auth secret',
      'filter Event-Name /./',
      'filter Application -ring_ready',
      'filter Application -park',
      'event json BACKGROUND_JOB CHANNEL_PARK DTMF',
    ]);
  });

  it('is denied with a wrong password, and says so', async () => {
    const error = await failure(open({ password: 'wrong' }));
    expect(error.kind).to.equal('denied');
    expect(error.message).to.equal('wrong password: -ERR invalid');
  });

  it('is denied by an access list, and says so', async () => {
    node.handlers.set('connect', ({ socket }) =>
      socket.end('Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n'),
    );
    const error = await failure(open());
    expect(error.kind).to.equal('denied');
    expect(error.message).to.include('Access Denied, go away.');
  });

  it('does not wait for ever for a node that says nothing', async () => {
    node.handlers.set('connect', () => undefined);
    expect((await failure(open({ openMs: 50 }))).message).to.equal('no login within 50 ms');
  });

  it('ends with what is not an event socket', async () => {
    node.handlers.set('connect', ({ socket }) =>
      socket.write(`HTTP/1.1 400 Bad Request\r\nContent-Length: x\r\n\r\n`),
    );
    expect((await failure(open())).message).to.include('does not speak the event socket protocol');
  });

  it('matches replies to commands in their order, with events in between', async () => {
    const esl = await open();
    node.handlers.set('api', (session, command) => {
      session.event('DTMF', { 'DTMF-Digit': '1' });
      session.api(`result of ${command}\n`);
    });
    node.handlers.set('sendmsg', (session) => session.reply('+OK'));
    const results = await Promise.all([
      esl.api('one'),
      esl.sendmsg('u', { 'call-command': 'hangup' }),
      esl.api('two'),
      esl.api('three'),
    ]);
    expect(results).to.deep.equal([
      'result of api one\n',
      undefined,
      'result of api two\n',
      'result of api three\n',
    ]);
    expect(events).to.have.length(3);
  });

  it('fails a command the node refuses with the words of the node, and goes on', async () => {
    const esl = await open();
    expect(await failure(esl.api('uuid_kill nobody X'))).to.include({
      kind: 'refused',
      message: '-ERR No such channel!',
    });
    node.handlers.set('sendmsg', (session) => session.reply('-ERR invalid session id [x]'));
    expect(await failure(esl.sendmsg('x', {}))).to.include({
      kind: 'refused',
      message: '-ERR invalid session id [x]',
    });
    node.handlers.set('api show', (session) => session.reply('-ERR permission denied'));
    expect(await failure(esl.api('show channels'))).to.include({
      kind: 'refused',
      message: '-ERR permission denied',
    });
    expect(await esl.api('version')).to.include('1.10.12');
  });

  it('lets no value become a command of its own', async () => {
    const esl = await open();
    const before = node.commands.length;
    expect((await failure(esl.api('status\n\napi shutdown'))).kind).to.equal('refused');
    expect(
      (await failure(esl.sendmsg('u', { 'execute-app-arg': 'x\nexecute-app-name: hangup' }))).kind,
    ).to.equal('refused');
    expect((await failure(esl.bgapi('status', 'id\r\nx: y', 1000))).kind).to.equal('refused');
    await esl.api('status');
    expect(node.commands.slice(before)).to.deep.equal(['api status']);
  });

  it('matches background jobs by the id it gave them, whichever ends first', async () => {
    const esl = await open();
    const ids: string[] = [];
    node.handlers.set('bgapi', (session, command) => {
      const id = /^Job-UUID: (.+)$/m.exec(command)?.[1] ?? '';
      ids.push(id);
      // Before its own reply.
      if (id === 'job-2') session.event('BACKGROUND_JOB', { 'Job-UUID': id }, 'second\n');
      session.reply(`+OK Job-UUID: ${id}`);
      if (id === 'job-2') session.event('BACKGROUND_JOB', { 'Job-UUID': 'job-1' }, '-ERR USER_BUSY\n');
    });
    const first = failure(esl.bgapi('originate x', 'job-1', 1000));
    expect(await esl.bgapi('uuid_answer y', 'job-2', 1000)).to.equal('second\n');
    expect(await first).to.include({ kind: 'refused', message: '-ERR USER_BUSY' });
    expect(ids).to.deep.equal(['job-1', 'job-2']);
    expect(esl.pending).to.equal(0);
    expect(events).to.deep.equal([]);
  });

  it('gives a background job up after its time, and stays connected', async () => {
    const esl = await open();
    node.handlers.set('bgapi', (session) => session.reply('+OK'));
    expect((await failure(esl.bgapi('originate x', 'job', 30))).kind).to.equal('lost');
    expect(esl.pending).to.equal(0);
    expect(await esl.api('version')).to.be.a('string');
  });

  it('is broken once a command has no reply in time, and fails everything that waits, once', async () => {
    const esl = await open({ commandMs: 50 });
    node.handlers.set('api', () => undefined);
    node.handlers.set('bgapi', (session) => session.reply('+OK'));
    const job = failure(esl.bgapi('x', 'job', 10_000));
    const errors = await Promise.all([failure(esl.api('status')), failure(esl.api('version')), job]);
    expect(errors.map(({ kind }) => kind)).to.deep.equal(['lost', 'lost', 'lost']);
    expect(errors[0]?.message).to.equal('no reply to api status within 50 ms');
    expect(closed).to.have.length(1);
    expect((await failure(esl.api('version'))).kind).to.equal('lost');
    expect(node.count('api version')).to.equal(1);
  });

  it('never tells a password', async () => {
    node.handlers.set('auth', () => undefined);
    expect((await failure(open({ commandMs: 30 }))).message).to.equal('no reply to auth within 30 ms');
  });

  it('fails what waits when the node closes, with the notice it gave', async () => {
    const esl = await open();
    node.handlers.set('api', ({ socket }) =>
      socket.end(
        'Content-Type: text/disconnect-notice\nContent-Length: 67\n\nDisconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n',
      ),
    );
    expect(await failure(esl.api('status'))).to.include({
      kind: 'lost',
      message: 'disconnected by the node: Disconnected, goodbye.',
    });
    expect(closed).to.have.length(1);
  });

  it('takes only so many commands at once', async () => {
    const esl = await open({ maxPending: 2 });
    const held: (() => void)[] = [];
    node.handlers.set('api', (session) => held.push(() => session.api('done')));
    const two = [esl.api('1'), esl.api('2')];
    expect((await failure(esl.api('3'))).kind).to.equal('busy');
    await node.until(() => (held.length === 2 ? true : undefined), 'both commands');
    for (const answer of held) answer();
    expect(await Promise.all(two)).to.deep.equal(['done', 'done']);
    expect(node.count('api 3')).to.equal(0);
  });

  it('asks a node that has gone quiet for a sign of life, and leaves one that gives none', async () => {
    await open({ keepAliveMs: 30, commandMs: 100 });
    await node.command('api status', 2);
    expect(closed).to.deep.equal([]);
    node.handlers.set('api status', () => undefined);
    await node.until(() => closed[0], 'the end of the connection');
    expect(closed[0]?.message).to.equal('no reply to api status within 100 ms');
  });

  it('is finished by a reply to nothing, after which nothing could be matched', async () => {
    await open();
    node.session.api('what');
    await node.until(() => closed[0], 'the end of the connection');
    expect(closed[0]?.message).to.include('a reply to nothing');
  });
});
