import { expect } from 'chai';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../../cli/failure.ts';
import { startTimeOf } from '../../../cli/processes.ts';
import { Component } from '../../../cli/supervisor/component.ts';
import type { PartSpec } from '../../../cli/supervisor/part-spec.ts';
import { RotatingLog } from '../../../cli/supervisor/rotating-log.ts';

/** A part whose program writes its pids to a file and is ready when the file is there. */
describe('a supervised part', () => {
  let folder = '';
  let component: Component;
  let log: RotatingLog;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'minivoice-part-'));
    log = new RotatingLog(path.join(folder, 'part.log'));
  });
  afterEach(async () => {
    await component.stop();
    log.close();
    await rm(folder, { recursive: true });
  });

  const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await condition())) await sleep(10);
  };
  const part = (script: string, extra: Partial<PartSpec> = {}): Component => {
    const spec: PartSpec = {
      name: 'part',
      title: 'The part',
      command: ['sh', '-c', script],
      env: { READY: path.join(folder, 'ready') },
      probe: () => access(path.join(folder, 'ready')).then(() => '1.0'),
      readyWithinMs: 10_000,
      stopWithinMs: 5_000,
      ...extra,
    };
    component = new Component(spec, log, () => undefined);
    return component;
  };
  const pidOf = (): number => component.status().pid ?? 0;

  it('is up when it answers, and tells its version', async () => {
    await part('touch "$READY"; exec sleep 1000').start();
    expect(component.status()).to.include({ state: 'up', healthy: true, version: '1.0', restarts: 0 });
    expect(await startTimeOf(pidOf())).to.equal(component.process?.startTime);
  });

  it('fails in one sentence with its last words when it ends before it answers', async () => {
    const error: unknown = await part('echo cannot open the door; exit 3')
      .start()
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    expect(error).to.be.instanceOf(Failure);
    expect((error as Failure).message).to.equal('The part did not start: ended with code 3.');
    expect((error as Failure).log).to.contain('cannot open the door');
    expect(component.status()).to.include({ state: 'stopped', pid: null });
  });

  it('fails when it does not answer in time, and is not left behind', async () => {
    let pid = 0;
    const starting = part('exec sleep 1000', { readyWithinMs: 300 }).start();
    await until(() => (pid = pidOf()) > 0);
    const error: unknown = await starting.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect((error as Failure).message).to.match(/^The part was not ready after 0\.3 s: /);
    expect(await startTimeOf(pid)).to.equal(undefined);
  });

  it('has more time to get ready while it says how far it is', async () => {
    let done = 0;
    const probe = (): Promise<string> =>
      ++done < 20
        ? Promise.reject(new Error(`not ready, request ${Math.random()}: ${done} of 20 pieces`))
        : Promise.resolve('1.0');
    await part('exec sleep 1000', { probe, progress: /\d+ of \d+ pieces/, readyWithinMs: 300 }).start();
    expect(done).to.equal(20);
    await component.stop();
    const stuck = (): Promise<string> =>
      Promise.reject(new Error(`not ready, request ${Math.random()}: 7 of 20 pieces`));
    const error: unknown = await part('exec sleep 1000', {
      probe: stuck,
      progress: /\d+ of \d+ pieces/,
      readyWithinMs: 300,
    })
      .start()
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    expect((error as Failure).message).to.match(/^The part was not ready after 0\.3 s: /);
  });

  it('fails in one sentence when its program is not there', async () => {
    const error: unknown = await part('', { command: ['/nowhere/program'] })
      .start()
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    expect((error as Failure).message).to.contain('/nowhere/program is not there');
  });

  it('is started again when it is killed, and says how often', async () => {
    await part('touch "$READY"; exec sleep 1000').start();
    const first = pidOf();
    process.kill(first, 'SIGKILL');
    await until(() => pidOf() !== first && component.status().healthy);
    expect(component.status()).to.include({ state: 'up', restarts: 1 });
    expect(await readFile(log.file, 'utf8')).to.contain('part ended by SIGKILL');
  });

  it('takes the workers of its killed first process with it, which would keep its ports', async () => {
    await part('sleep 1000 & echo $! > "$READY.worker"; touch "$READY"; wait').start();
    const worker = Number(await readFile(path.join(folder, 'ready.worker'), 'utf8'));
    expect(await startTimeOf(worker)).to.not.equal(undefined);
    process.kill(pidOf(), 'SIGKILL');
    await until(async () => (await startTimeOf(worker)) === undefined);
  });

  it('is not started again once it was stopped', async () => {
    await part('touch "$READY"; exec sleep 1000').start();
    const pid = pidOf();
    await component.stop();
    expect(await startTimeOf(pid)).to.equal(undefined);
    expect(component.status()).to.include({ state: 'stopped', healthy: false, pid: null, restarts: 0 });
    await component.start();
    expect(component.status()).to.include({ state: 'up', healthy: true });
  });

  it('is killed when it does not end in time', async () => {
    await part('trap "" TERM; touch "$READY"; while :; do sleep 1; done', { stopWithinMs: 200 }).start();
    const pid = pidOf();
    await component.stop();
    expect(await startTimeOf(pid)).to.equal(undefined);
  });

  it('is unhealthy while it runs and does not answer', async () => {
    await part('touch "$READY"; exec sleep 1000').start();
    await rm(path.join(folder, 'ready'));
    await until(() => !component.status().healthy);
    expect(component.status()).to.include({ pid: pidOf(), restarts: 0 });
    await writeFile(path.join(folder, 'ready'), '');
    await until(() => component.status().healthy);
  });
});
