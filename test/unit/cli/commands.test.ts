import { expect } from 'chai';
import { merge, timeOf } from '../../../cli/commands/logs.ts';
import { statusJson } from '../../../cli/commands/status.ts';
import { Failure } from '../../../cli/failure.ts';
import { homeAt } from '../../../cli/home.ts';
import { portsFrom } from '../../../cli/ports.ts';
import { coordinatesOf, mediaFrom, PARTS, type Settings } from '../../../cli/settings.ts';
import { partsOf } from '../../../cli/supervisor/parts.ts';
import { closingLine, sum } from '../../../cli/testing/suites.ts';

const settings: Settings = {
  home: '/state',
  parts: [...PARTS],
  ports: portsFrom(30000),
  media: { kind: 'embedded' },
  database: 'mariadb',
  tools: {
    redisServer: '/bin/redis-server',
    edge: { kamailioBin: '/k', modules: '/m', rtpengineBin: '/r', kamailioVersion: '6.1.5' },
  },
  secrets: {
    adminToken: 'admin',
    edgeToken: 'edge',
    databasePassword: 'db',
    redisPassword: 'redis',
    eslPassword: 'esl',
    secretKey: '00',
  },
  environment: { HTTP_PORT: '1', LOG_LEVEL: 'debug' },
};
const envOf = (of: Settings, name: string): Record<string, string> =>
  partsOf(of).find((part) => part.name === name)?.env ?? {};

const refusal = async (env: NodeJS.ProcessEnv): Promise<string> => {
  const error: unknown = await mediaFrom(env).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(Failure);
  return (error as Failure).message;
};

describe('the minivoice command', () => {
  it('shows the status in the shape that scripts rely on', () => {
    const component = {
      name: 'redis',
      title: 'Redis',
      version: '7',
      pid: 1,
      healthy: true,
      state: 'up' as const,
      restarts: 0,
    };
    const json = statusJson({
      state: 'up',
      pid: 9,
      coordinates: coordinatesOf(settings),
      components: [component],
    });
    expect(json).to.deep.include({
      api: 'http://127.0.0.1:30000',
      admin_token: 'admin',
      sip: '127.0.0.1:30001',
      media: { kind: 'embedded' },
    });
    expect(json.components[0]).to.include({ name: 'redis', version: '7', pid: 1, healthy: true });
  });

  it('merges logs by time, and keeps lines without one behind the line before', () => {
    expect(timeOf('2026-01-01T00:00:01.000Z hello')).to.equal('2026-01-01T00:00:01.000Z');
    expect(timeOf('{"level":"info","time":"2026-01-01T00:00:02.000Z"}')).to.equal('2026-01-01T00:00:02.000Z');
    const merged = merge([
      { name: 'a', lines: ['2026-01-01T00:00:01.000Z one', '  more', '2026-01-01T00:00:03.000Z three'] },
      { name: 'bb', lines: ['{"time":"2026-01-01T00:00:02.000Z"}'] },
    ]);
    expect(merged).to.deep.equal([
      'a   2026-01-01T00:00:01.000Z one',
      'a     more',
      'bb  {"time":"2026-01-01T00:00:02.000Z"}',
      'a   2026-01-01T00:00:03.000Z three',
    ]);
  });

  it('closes a test run with one line of sums', () => {
    const total = sum([
      { passed: 1, failed: 0, skipped: 0 },
      { passed: 2, failed: 1, skipped: 3 },
    ]);
    expect(closingLine(total)).to.equal('3 passed, 1 failed, 3 skipped');
    expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).to.equal('3 passed, 0 failed');
  });

  it('starts several media nodes, each with ports of its own, and tells Kamailio and the control plane of all', () => {
    const two: Settings = { ...settings, media: { kind: 'embedded', count: 2 } };
    const [first, second] = [envOf(two, 'media'), envOf(two, 'media-2')];
    for (const name of ['FREESWITCH_SIP_PORT', 'FREESWITCH_ESL_PORT', 'FREESWITCH_RTP_START'])
      expect(first[name], name).to.not.equal(second[name]);
    expect(Number(first['FREESWITCH_RTP_END'])).to.be.below(Number(second['FREESWITCH_RTP_START']));
    const sip = [first, second].map((env) => `127.0.0.1:${env['FREESWITCH_SIP_PORT']}`);
    expect(envOf(two, 'kamailio')['MEDIA_NODES']).to.equal(sip.join(','));
    expect(envOf(two, 'control')['FREESWITCH_NODES']).to.equal(
      [first, second]
        .map((env) => `127.0.0.1:${env['FREESWITCH_ESL_PORT']}:${env['FREESWITCH_SIP_PORT']}`)
        .join(','),
    );
  });

  it('says in a sentence why a choice of media cannot be met', async () => {
    expect(await mediaFrom({})).to.deep.equal({ kind: 'embedded', count: 1 });
    for (const bad of ['0', '5', '1.5', 'two'])
      expect(await refusal({ MINIVOICE_MEDIA_NODES: bad }), bad).to.match(
        /MINIVOICE_MEDIA_NODES must be a number from 1 to 4/,
      );
    expect(await refusal({ MINIVOICE_MEDIA: 'asterisk' })).to.match(/embedded or freeswitch/);
    expect(await refusal({ MINIVOICE_MEDIA: 'freeswitch', FREESWITCH_BIN: '/nowhere/freeswitch' })).to.match(
      /FREESWITCH_BIN/,
    );
    expect(await refusal({ MINIVOICE_MEDIA: 'freeswitch', FREESWITCH_NODES: 'a:1' })).to.match(
      /host:esl-port:sip-port/,
    );
    expect(await refusal({ MINIVOICE_MEDIA: 'freeswitch', FREESWITCH_NODES: 'a:1:2' })).to.match(
      /FREESWITCH_ESL_PASSWORD/,
    );
    const running = await mediaFrom({
      MINIVOICE_MEDIA: 'freeswitch',
      FREESWITCH_NODES: 'a:1:2, b:3:4',
      FREESWITCH_ESL_PASSWORD: 'secret',
    });
    expect(running).to.deep.equal({ kind: 'freeswitch', nodes: ['a:1:2', 'b:3:4'], eslPassword: 'secret' });
  });

  it('refuses a home whose sockets would have too long a path', () => {
    expect(() => homeAt(`/${'x'.repeat(100)}`)).to.throw(Failure, /too long/);
  });

  it('lets the environment tune the control plane, but not move it', () => {
    expect(envOf(settings, 'control')).to.include({
      LOG_LEVEL: 'debug',
      HTTP_PORT: '30000',
      MINIVOICE_PROFILE: 'development',
    });
  });

  it('tells Kamailio and the control plane of FreeSWITCH nodes that run already, and starts none', () => {
    const remote: Settings = {
      ...settings,
      media: {
        kind: 'freeswitch',
        nodes: ['10.0.0.1:8021:5080', '10.0.0.2:8021:5080'],
        eslPassword: 'theirs',
      },
    };
    expect(envOf(remote, 'kamailio')['MEDIA_NODES']).to.equal('10.0.0.1:5080,10.0.0.2:5080');
    expect(envOf(remote, 'control')).to.include({
      FREESWITCH_NODES: '10.0.0.1:8021:5080,10.0.0.2:8021:5080',
      FREESWITCH_ESL_PASSWORD: 'theirs',
    });
    const media = partsOf(remote).filter((part) => part.name.startsWith('media'));
    expect(media.map((part) => part.command)).to.deep.equal([undefined, undefined]);
  });

  it('passes no secret on a command line, where every user of the machine could read it', () => {
    const secrets = {
      adminToken: 'secret1',
      edgeToken: 'secret2',
      databasePassword: 'secret3',
      redisPassword: 'secret4',
      eslPassword: 'secret5',
      secretKey: 'secret6',
    };
    const words = partsOf({ ...settings, secrets }).flatMap((part) => part.command ?? []);
    expect(words.filter((word) => word.includes('secret'))).to.deep.equal([]);
  });
});
