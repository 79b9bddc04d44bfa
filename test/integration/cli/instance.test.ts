import { expect } from 'chai';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../../cli/failure.ts';
import { homeAt, makeFolders, type Home } from '../../../cli/home.ts';
import { Instance } from '../../../cli/instance.ts';
import { freeBase } from '../../../cli/ports.ts';
import { startTimeOf } from '../../../cli/processes.ts';
import { settingsFor, type Settings } from '../../../cli/settings.ts';
import { setUp } from '../../../cli/setup/index.ts';
import type { Status } from '../../../cli/supervisor/protocol.ts';

/**
 * Redis alone is enough to see how an instance is started, watched and stopped, and takes a tenth of a
 * second.
 */
describe('an instance', () => {
  let home: Home;
  let settings: Settings;
  let instance: Instance;
  beforeEach(async () => {
    home = homeAt(await mkdtemp(path.join(tmpdir(), 'minivoice-instance-')));
    await makeFolders(home);
    settings = await settingsFor(home, await setUp(), {
      parts: ['redis'],
      base: await freeBase([11000, 17000, 8000]),
    });
    instance = new Instance(home);
  });
  afterEach(async () => {
    await instance.down();
    await rm(home.root, { recursive: true });
  });

  const up = async (): Promise<Status> => {
    await instance.launch(settings);
    return instance.whenReady();
  };
  const pidOf = (status: Status | undefined): number => status?.components[0]?.pid ?? 0;
  const until = async (condition: () => Promise<boolean>): Promise<void> => {
    while (!(await condition())) await sleep(10);
  };

  it('runs in the background, answers for itself, and ends with everything it started', async () => {
    const status = await up();
    expect(status.state).to.equal('up');
    expect(status.components[0]).to.include({ name: 'redis', healthy: true, state: 'up' });
    expect(await instance.down()).to.equal(true);
    expect(await startTimeOf(pidOf(status))).to.equal(undefined);
    expect(await startTimeOf(status.pid)).to.equal(undefined);
    expect(await instance.status()).to.equal(undefined);
    expect(await instance.down(), 'a second down').to.equal(false);
  });

  it('is started once, however often and however many at a time say so', async () => {
    await Promise.all([instance.launch(settings), Instance.at(home.root).launch(settings)]);
    const status = await instance.whenReady();
    expect(await instance.launch(settings)).to.equal(false);
    expect(pidOf(await instance.whenReady())).to.equal(pidOf(status));
  });

  it('starts a killed part again, and status tells', async () => {
    const before = pidOf(await up());
    process.kill(before, 'SIGKILL');
    let status: Status | undefined;
    await until(
      async () =>
        pidOf((status = await instance.status())) !== before && status?.components[0]?.healthy === true,
    );
    expect(status?.components[0]).to.include({ restarts: 1, state: 'up' });
  });

  it('keeps a part stopped until it is started, for those who want to see what the others do meanwhile', async () => {
    await up();
    expect((await instance.stop('redis')).components[0]).to.include({ state: 'stopped', pid: null });
    expect((await instance.start('redis')).components[0]).to.include({ state: 'up', healthy: true });
    const error: unknown = await instance.stop('toaster').then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect((error as Failure).message).to.equal('there is no part toaster');
  });

  it('takes its parts with it when its supervisor is killed, and starts again over what is left', async () => {
    const first = await up();
    process.kill(first.pid, 'SIGKILL');
    await until(async () => (await startTimeOf(pidOf(first))) === undefined);
    expect(await instance.status()).to.equal(undefined);
    const second = await up();
    expect(second.state).to.equal('up');
    expect(second.pid).to.not.equal(first.pid);
  });

  it('is refused in one sentence when a port is taken', async () => {
    const server: Server = createServer().listen(settings.ports.redis, '127.0.0.1');
    await once(server, 'listening');
    try {
      const error: unknown = await instance.launch(settings).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).to.be.instanceOf(Failure);
      expect((error as Failure).message).to.contain(
        `Port ${settings.ports.redis}/tcp, for Redis, is taken by`,
      );
      expect(await instance.status()).to.equal(undefined);
    } finally {
      server.close();
    }
  });

  it('does not stay half up when a part fails: it says which and why, and stops the rest', async () => {
    settings = {
      ...settings,
      parts: ['redis', 'media'],
      media: { kind: 'freeswitch', binary: '/bin/false' },
    };
    const error: unknown = await up().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect((error as Failure).message).to.match(/^FreeSWITCH did not start: ended with code 1\.$/);
    expect((await instance.status())?.components.map((part) => part.pid)).to.deep.equal([null, null]);
    settings = { ...settings, parts: ['redis'] };
    expect((await up()).state, 'the next try').to.equal('up');
  });

  it('lives in a folder with a blank in its path, every part of it', async function () {
    this.timeout(90_000);
    const apart = homeAt(path.join(home.root, 'a home'));
    await makeFolders(apart);
    const whole = new Instance(apart);
    try {
      await whole.launch(
        await settingsFor(apart, settings.tools, { base: await freeBase([11000, 17000, 8000]) }),
      );
      const { state, components } = await whole.whenReady();
      expect(state).to.equal('up');
      expect(components.map((part) => part.healthy)).to.deep.equal(components.map(() => true));
    } finally {
      await whole.down();
    }
  });

  it('keeps its secrets from other users, and makes them once', async () => {
    const file = path.join(home.root, 'secrets.json');
    expect((await stat(file)).mode & 0o077).to.equal(0);
    expect((await stat(home.root)).mode & 0o077).to.equal(0);
    const again = await settingsFor(home, settings.tools);
    expect(again.secrets).to.deep.equal(settings.secrets);
    expect(settings.secrets.secretKey).to.match(/^[0-9a-f]{64}$/);
    await up();
    expect(await readFile(`/proc/${pidOf(await instance.status())}/cmdline`, 'utf8')).to.not.contain(
      settings.secrets.redisPassword,
    );
  });
});
