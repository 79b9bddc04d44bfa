import { expect } from 'chai';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Api } from '../../../cli/demo/api.ts';
import { which } from '../../../cli/exec.ts';
import { Failure, sentenceOf } from '../../../cli/failure.ts';
import { homeAt, makeFolders, secretsOf } from '../../../cli/home.ts';
import { makeDebianRoot } from '../../../cli/setup/debian-root.ts';
import { installTools, missingTools } from '../../../cli/setup/packages.ts';

describe('failures that can be foreseen', () => {
  let folder = '';
  const { PATH, XDG_CACHE_HOME } = process.env;
  beforeEach(async () => (folder = await mkdtemp(path.join(tmpdir(), 'minivoice-failures-'))));
  afterEach(async () => {
    process.env['PATH'] = PATH;
    if (XDG_CACHE_HOME === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = XDG_CACHE_HOME;
    await rm(folder, { recursive: true });
  });

  const failureOf = async (work: Promise<unknown>): Promise<Failure> => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(Failure);
    return error as Failure;
  };

  /** The only folder in PATH, with programs that we say what they do. */
  const onlyPrograms = async (programs: Record<string, string>): Promise<void> => {
    const shell = (await which('sh')) ?? '';
    const bin = path.join(folder, 'bin');
    await mkdir(bin);
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(path.join(bin, name), `#!${shell}\n${script}\n`);
      await chmod(path.join(bin, name), 0o755);
    }
    process.env['PATH'] = bin;
  };

  it('a full disk and a missing right are one sentence, a fault of ours keeps its stack', () => {
    const full = Object.assign(new Error('ENOSPC: …'), { code: 'ENOSPC', path: '/home/run/x' });
    expect(sentenceOf(full)).to.equal('/home/run/x cannot be used: no space is left on the disk.');
    const full2 = Object.assign(new Error('ENOSPC: …'), { code: 'ENOSPC' });
    expect(sentenceOf(full2)).to.equal('The system refuses: no space is left on the disk.');
    expect(sentenceOf(new Failure('So.'))).to.equal('So.');
    expect(sentenceOf(new TypeError('x is not a function'))).to.equal(undefined);
  });

  it('a home that cannot be made is named with the reason', async () => {
    await writeFile(path.join(folder, 'file'), '');
    for (const [home, reason] of [
      [path.join(folder, 'file/home'), 'a file is in the place of a folder'],
      ['/proc/nowhere/home', 'no such folder can be made there'],
    ] as const)
      expect((await failureOf(makeFolders(homeAt(home)))).message).to.equal(
        `${home}, where the state is to live, cannot be written: ${reason}. MINIVOICE_HOME names another folder.`,
      );
  });

  it('secrets that cannot be read are not made anew', async () => {
    const home = homeAt(folder);
    await writeFile(path.join(folder, 'secrets.json'), '{"adminTok');
    expect((await failureOf(secretsOf(home))).message).to.contain('secrets.json is not JSON');
    await rm(path.join(folder, 'secrets.json'));
    await mkdir(path.join(folder, 'secrets.json'));
    const error: unknown = await secretsOf(home).catch((reason: unknown) => reason);
    expect(error).to.include({ code: 'EISDIR' });
  });

  it('a machine without apt-get is told what to install', async () => {
    await onlyPrograms({});
    expect((await failureOf(installTools(await missingTools(['keyring'])))).message).to.equal(
      "This machine has no apt-get, so Debian's keys must be installed by hand.",
    );
  });

  it('a mirror that cannot be reached is named, with what was said last in the log', async () => {
    process.env['XDG_CACHE_HOME'] = path.join(folder, 'a cache');
    await onlyPrograms({
      'apt-get': 'exit 1',
      'apt-config': 'exit 1',
      mmdebstrap: 'echo "E: Could not resolve deb.debian.org" >&2; exit 1',
    });
    const root = { title: 'Kamailio', name: 'test-1', suite: 'forky', packages: ['x'], programs: [] };
    const failure = await failureOf(makeDebianRoot(root, () => Promise.resolve(false)));
    expect(failure.message).to.equal(
      'Kamailio could not be downloaded from http://deb.debian.org/debian: Could not resolve deb.debian.org',
    );
    expect(failure.log).to.contain('E: Could not resolve');
  });

  it('an API that does not answer is named with its address', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const api = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.close();
    await once(server, 'close');
    const failure = await failureOf(new Api(api, 'token').call('GET', '/v1/calls'));
    expect(failure.message).to.match(new RegExp(`^The API at ${api} does not answer: .*ECONNREFUSED`));
  });
});
