import { expect } from 'chai';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run, which, type Result } from '../../../cli/exec.ts';
import { REPOSITORY } from '../../../cli/home.ts';

describe('./minivoice', () => {
  let folder = '';
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'minivoice-door-'))));
  after(() => rm(folder, { recursive: true }));

  const minivoice = (args: string[], env: NodeJS.ProcessEnv = {}, from = REPOSITORY): Promise<Result> =>
    run(path.join(from, 'minivoice'), args, {
      env: { ...process.env, MINIVOICE_HOME: path.join(folder, 'home'), ...env },
      cwd: folder,
    });

  it('names its commands, from whatever folder it is called', async () => {
    const { code, stdout } = await minivoice([]);
    expect(code).to.equal(0);
    for (const name of ['demo', 'test', 'up', 'down', 'status', 'logs', 'bench'])
      expect(stdout).to.contain(`./minivoice ${name}`);
  });

  it('refuses what it does not know in one sentence, without a stack', async () => {
    for (const args of [
      ['dance'],
      ['status', '--yaml'],
      ['test', 'everything'],
      ['bench', 'everything'],
      ['logs'],
      ['up', '--foo'],
      ['down', 'now'],
      ['test', 'unit', '--gerp', 'x'],
    ]) {
      const { code, stdout, stderr } = await minivoice(args);
      expect(code, args.join(' ')).to.equal(1);
      expect(stdout).to.equal('');
      expect(stderr.trim().split('\n'), stderr).to.have.length(1);
    }
  });

  it('says that nothing runs, for people and for scripts, and stops nothing twice', async () => {
    const human = await minivoice(['status']);
    expect(human).to.deep.include({ code: 1 });
    expect(human.stdout).to.contain('./minivoice up starts it');
    expect(JSON.parse((await minivoice(['status', '--json'])).stdout)).to.deep.equal({
      state: 'down',
      components: [],
    });
    expect(await minivoice(['down'])).to.deep.include({ code: 0 });
  });

  it('refuses a base of ports that cannot be, before anything is done', async () => {
    const { code, stderr } = await minivoice(['up'], { MINIVOICE_PORT_BASE: '70000' });
    expect(code).to.equal(1);
    expect(stderr).to.match(
      /^MINIVOICE_PORT_BASE must be an even number from 1024 to \d+, and is "70000"\.\n$/,
    );
  });

  /** A folder that has the ordinary tools and a node of our own making. */
  const pathWith = async (name: string, node: string | undefined): Promise<string> => {
    const bin = path.join(folder, name);
    await mkdir(bin);
    for (const tool of ['bash', 'readlink', 'dirname', 'tail', 'sed', 'date', 'touch'])
      await symlink((await which(tool)) ?? '', path.join(bin, tool));
    if (node !== undefined) {
      await writeFile(path.join(bin, 'node'), node);
      await chmod(path.join(bin, 'node'), 0o755);
    }
    return bin;
  };

  it('says which Node it needs where there is none, and where it is too old', async () => {
    const none = await minivoice(['status'], { PATH: await pathWith('none', undefined) });
    expect(none.code).to.equal(1);
    expect(none.stderr).to.match(
      /^MiniVoice needs Node\.js 20\.18 or later, and there is no node in PATH: .*\n$/,
    );
    const bash = (await which('bash')) ?? '';
    const old = await minivoice(['status'], {
      PATH: await pathWith('old', `#!${bash}\n[[ "$1" == --version ]] && echo v18.19.0 || exit 1\n`),
    });
    expect(old.code).to.equal(1);
    expect(old.stderr).to.match(
      /^MiniVoice needs Node\.js 20\.18 or later, and \S+\/old\/node is v18\.19\.0: .*\n$/,
    );
  });

  /** A fresh clone, as far as the front door looks. */
  const cloneAt = async (name: string): Promise<string> => {
    const clone = path.join(folder, name);
    await mkdir(path.join(clone, 'cli'), { recursive: true });
    for (const file of ['minivoice', 'package.json', 'cli/help.txt'])
      await cp(path.join(REPOSITORY, file), path.join(clone, file));
    return clone;
  };

  it('shows its help and version without Node and packages, from a folder with a blank in its name', async () => {
    const clone = await cloneAt('a fresh clone');
    const env = { PATH: await pathWith('bare', undefined) };
    for (const args of [[], ['help'], ['--help'], ['-h']]) {
      const { code, stdout } = await minivoice(args, env, clone);
      expect(code, args.join(' ')).to.equal(0);
      expect(stdout).to.contain('./minivoice demo');
    }
    const { version } = JSON.parse(await readFile(path.join(REPOSITORY, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(await minivoice(['--version'], env, clone)).to.deep.equal({
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    });
  });

  it('shows its help instead of doing what it was about to do', async () => {
    const { code, stdout } = await minivoice(['up', '--help']);
    expect(code).to.equal(0);
    expect(stdout).to.contain('./minivoice demo');
  });

  it('names variables that nothing reads, and goes on', async () => {
    const { stdout, stderr } = await minivoice(['status'], { MINIVOICE_HOMES: '/x', HTTP_PROT: '1' });
    expect(stdout).to.contain('MiniVoice is not running');
    expect(stderr).to.contain('MINIVOICE_HOMES: did you mean MINIVOICE_HOME?');
    expect(stderr).to.contain('HTTP_PROT: did you mean HTTP_PORT?');
  });

  it('refuses a home that cannot be written before anything is downloaded', async () => {
    await writeFile(path.join(folder, 'file'), '');
    const MINIVOICE_HOME = path.join(folder, 'file/home');
    // With the packages and without: npm is not asked for any.
    for (const from of [REPOSITORY, await cloneAt('unwritable')]) {
      const { code, stdout, stderr } = await minivoice(['up'], { MINIVOICE_HOME }, from);
      expect(code).to.equal(1);
      expect(stdout).to.equal('');
      expect(stderr).to.match(/^\S+, where the state is to live, cannot be written.*\n$/);
    }
  });

  it('says in one sentence after the reason when the packages cannot be installed', async () => {
    const clone = await cloneAt('clone');
    const { code, stderr } = await minivoice(['status'], {}, clone);
    expect(code).to.equal(1);
    expect(stderr.trim().split('\n').at(-1)).to.equal('The packages could not be installed by npm ci.');
    expect(stderr).to.contain('  | ');
  });
});
