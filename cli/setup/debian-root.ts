import { access, chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { lastLines, run } from '../exec.ts';
import { Failure } from '../failure.ts';

/**
 * Programs of another Debian suite than the machine's. Their packages are extracted, not installed, into the
 * user's cache folder, and run through their own dynamic loader. That needs no chroot and no privilege, and
 * every path keeps its meaning.
 */
export interface DebianRoot {
  /** What the root brings, as messages name it. */
  title: string;
  /**
   * Its folder's name in the cache. It changes with the recipe: an old root is left alone, and a new one is
   * made.
   */
  name: string;
  suite: string;
  packages: string[];
  /** The programs that are run, as paths in the root. Other programs beside them are removed. */
  programs: string[];
  /** What of `usr/share` and `usr/lib` is of no use, besides documentation and the like. */
  unused?: string[];
  /** Folders of libraries beside the usual one, below it. */
  libraryFolders?: string[];
}

const PUBLIC_MIRROR = 'http://deb.debian.org/debian';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const UNUSED_SHARE = [
  'doc',
  'man',
  'locale',
  'info',
  'lintian',
  'mime',
  'fonts',
  'icons',
  'X11',
  'bash-completion',
  'zoneinfo',
  'gdb',
  'gcc',
];

export const cacheFolder = (): string =>
  path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'minivoice');

/** Where the root is, made or not. */
export const folderOf = ({ name }: Pick<DebianRoot, 'name'>): string => path.join(cacheFolder(), name);

/** The command that runs a program of the root. */
export const commandIn = (root: Pick<DebianRoot, 'name'>, program: string): string =>
  path.join(folderOf(root), 'minivoice', path.basename(program));

export const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** The folder `usr/lib/<architecture>-linux-gnu` under a root. */
export async function libraries(root: string): Promise<string | undefined> {
  const names = await readdir(path.join(root, 'usr/lib')).catch(() => []);
  const triplet = names.find((name) => /-linux-gnu/.test(name));
  return triplet && path.join(root, 'usr/lib', triplet);
}

/**
 * Makes the root. It is built beside its place and renamed into it, so that nobody ever sees half of one;
 * where two are built at once, the second one is thrown away.
 * @param usable whether what stands in the root's place works
 * @throws Failure when no mirror has the packages, or what they bring does not work
 */
export async function makeDebianRoot(root: DebianRoot, usable: () => Promise<boolean>): Promise<void> {
  const place = folderOf(root);
  await mkdir(cacheFolder(), { recursive: true });
  let reason: unknown;
  for (const mirror of await mirrors()) {
    const workshop = await mkdtemp(`${place}.new-`);
    try {
      const target = path.join(workshop, 'root');
      await extract(root, target, mirror);
      await finish(root, target);
      await rename(target, place).catch(async (error: unknown) => {
        if (await usable()) return;
        // A broken root is in the way: it is set aside and goes with the workshop.
        await rename(place, path.join(workshop, 'broken'));
        await rename(target, place).catch(() => {
          throw error;
        });
      });
      if (!(await usable()))
        throw new Failure(`What Debian ${root.suite} has of ${root.title} cannot be used here.`);
      return;
    } catch (error) {
      reason = error;
    } finally {
      await rm(workshop, { recursive: true, force: true });
    }
  }
  throw reason;
}

/** The machine's own Debian mirror first, where it has one; then the public one. */
async function mirrors(): Promise<string[]> {
  const format = '$(REPO_URI) $(ORIGIN) $(LABEL)';
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, 'Identifier: Packages']);
  const own = stdout
    .split('\n')
    .map((line) => line.split(' '))
    .find(([uri, origin, label]) => /^https?:/.test(uri ?? '') && origin === 'Debian' && label === 'Debian');
  return [...new Set([...(own?.[0] ? [own[0].replace(/\/$/, '')] : []), PUBLIC_MIRROR])];
}

/**
 * mmdebstrap reads none of the machine's apt configuration: the ways out (proxies and the like) are handed
 * on.
 */
async function transport(): Promise<string[]> {
  const { stdout } = await run('apt-config', ['dump']);
  return stdout.split('\n').filter((line) => /^Acquire::(https?|Retries)(::\S+)? ".+";$/.test(line));
}

async function extract(
  { title, suite, packages }: DebianRoot,
  target: string,
  mirror: string,
): Promise<void> {
  const options = [
    // A suite's Release file is past its date now and then; its signature is checked all the same.
    'Acquire::Check-Valid-Until "false";',
    'APT::Install-Recommends "false";',
    ...(await transport()),
  ];
  const made = await run('mmdebstrap', [
    '--variant=extract',
    '--mode=chrootless',
    '--format=directory',
    `--include=${packages.join(',')}`,
    ...options.map((option) => `--aptopt=${option}`),
    suite,
    target,
    `deb [signed-by=${KEYRING}] ${mirror} ${suite} main`,
  ]);
  if (made.code !== 0) {
    const said = [...made.stderr.matchAll(/^E: (.*)$/gm)]
      .map((match) => match[1])
      .find((text) => !text?.startsWith('apt-get'));
    throw new Failure(
      `${title} could not be downloaded from ${mirror}: ${said ?? 'mmdebstrap failed'}`,
      lastLines(made.stderr, 15),
    );
  }
}

/**
 * Keeps what runs; adds the links that a package's own set-up would have made, and a wrapper for each
 * program.
 */
async function finish(
  { title, programs, unused = [], libraryFolders = [] }: DebianRoot,
  target: string,
): Promise<void> {
  const python = (await readdir(path.join(target, 'usr/lib'))).filter((name) => name.startsWith('python'));
  const useless = [
    ...UNUSED_SHARE.map((name) => `usr/share/${name}`),
    ...python.map((name) => `usr/lib/${name}`),
    ...unused,
    'usr/libexec',
    'usr/include',
    'usr/games',
    'var',
  ];
  await Promise.all(useless.map((name) => rm(path.join(target, name), { recursive: true, force: true })));
  for (const folder of ['usr/bin', 'usr/sbin']) {
    const names = await readdir(path.join(target, folder)).catch(() => []);
    const others = names.filter((name) => !programs.includes(`${folder}/${name}`));
    await Promise.all(
      others.map((name) => rm(path.join(target, folder, name), { recursive: true, force: true })),
    );
  }
  const lib = await libraries(target);
  const loader = (await readdir(lib ?? target)).find((name) => name.startsWith('ld-linux'));
  if (!lib || !loader)
    throw new Failure(`What was downloaded of ${title} is not complete: it has no dynamic loader.`);
  const linked = await run('/sbin/ldconfig', ['-n', lib]);
  if (linked.code !== 0)
    throw new Failure(`ldconfig could not link the libraries of ${title}.`, linked.stderr);
  await mkdir(path.join(target, 'minivoice'), { recursive: true });
  const inside = path.relative(target, lib);
  const folders = ['$lib', ...libraryFolders.map((name) => `$lib/${name}`)].join(':');
  for (const program of programs) {
    const wrapper = path.join(target, 'minivoice', path.basename(program));
    await writeFile(
      wrapper,
      [
        '#!/bin/sh',
        "# The newer C library this program was built for is beside it: start it with that library's own loader.",
        'root=$(cd "$(dirname "$0")/.." && pwd)',
        `lib="$root/${inside}"`,
        `exec "$lib/${loader}" --library-path "${folders}" "$root/${program}" "$@"`,
        '',
      ].join('\n'),
    );
    await chmod(wrapper, 0o755);
  }
}
