import { access, chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { lastLines, run, which } from '../exec.ts';
import { Failure } from '../failure.ts';

/**
 * Kamailio and rtpengine. Debian 12 and 13 have a Kamailio without http_async_client, or one whose module spins
 * (before 6.0.7), so both come from Debian forky: its packages are extracted, not installed, into the user's cache
 * folder, and run through their own dynamic loader. That needs no chroot and no privilege, and every path keeps its meaning.
 */
export interface Edge {
  kamailioBin: string;
  modules: string;
  rtpengineBin: string;
  kamailioVersion: string;
}

const SUITE = 'forky';
/** Goes up when the recipe below changes, so that an old root is left alone and a new one is made. */
const RECIPE = 1;
const PACKAGES = ['kamailio', 'kamailio-extra-modules', 'kamailio-json-modules', 'kamailio-tls-modules', 'rtpengine-daemon'];
const PUBLIC_MIRROR = 'http://deb.debian.org/debian';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** Older ones leak events in http_async_client until a worker spins. */
const OLDEST = [6, 0, 7] as const;

const cacheFolder = (): string => path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'minivoice');

export const edgeRoot = (): string => path.join(cacheFolder(), `edge-${SUITE}-${RECIPE}`);

const exists = (file: string): Promise<boolean> => access(file).then(() => true, () => false);

/** @returns the version in the first line of `kamailio -v`, or undefined where there is none. */
export function kamailioVersion(output: string): string | undefined {
  return /^version: kamailio (\d+\.\d+\.\d+)/m.exec(output)?.[1];
}

export function isRecent(version: string): boolean {
  const parts = version.split('.').map(Number);
  for (const [index, least] of OLDEST.entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part > least;
  }
  return true;
}

async function usable(kamailioBin: string, modules: string, rtpengineBin: string): Promise<Edge | undefined> {
  if (!(await exists(path.join(modules, 'http_async_client.so'))) || !(await exists(rtpengineBin))) return undefined;
  const version = kamailioVersion((await run(kamailioBin, ['-v'])).stdout);
  return version && isRecent(version) ? { kamailioBin, modules, rtpengineBin, kamailioVersion: version } : undefined;
}

/** The folder `usr/lib/<architecture>-linux-gnu` under a root. */
async function libraries(root: string): Promise<string | undefined> {
  const names = await readdir(path.join(root, 'usr/lib')).catch(() => []);
  const triplet = names.find((name) => /-linux-gnu/.test(name));
  return triplet && path.join(root, 'usr/lib', triplet);
}

async function inRoot(): Promise<Edge | undefined> {
  const lib = await libraries(edgeRoot());
  if (!lib) return undefined;
  return usable(path.join(edgeRoot(), 'minivoice/kamailio'), path.join(lib, 'kamailio/modules'), path.join(edgeRoot(), 'minivoice/rtpengine'));
}

async function ofSystem(): Promise<Edge | undefined> {
  const [kamailio, rtpengine, lib] = await Promise.all([which('kamailio'), which('rtpengine'), libraries('/')]);
  return kamailio && rtpengine && lib ? usable(kamailio, path.join(lib, 'kamailio/modules'), rtpengine) : undefined;
}

/** What is there already: named by the environment, the machine's own, or the root in the cache folder. */
export async function findEdge(): Promise<Edge | undefined> {
  const { KAMAILIO_BIN, KAMAILIO_MODULES, RTPENGINE_BIN } = process.env;
  if (KAMAILIO_BIN && KAMAILIO_MODULES && RTPENGINE_BIN) return usable(KAMAILIO_BIN, KAMAILIO_MODULES, RTPENGINE_BIN);
  return (await ofSystem()) ?? inRoot();
}

/** The machine's own Debian mirror first, where it has one; then the public one. */
async function mirrors(): Promise<string[]> {
  const format = '$(REPO_URI) $(ORIGIN) $(LABEL)';
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, 'Identifier: Packages']);
  const own = stdout.split('\n').map((line) => line.split(' ')).find(([uri, origin, label]) => /^https?:/.test(uri ?? '') && origin === 'Debian' && label === 'Debian');
  return [...new Set([...(own?.[0] ? [own[0].replace(/\/$/, '')] : []), PUBLIC_MIRROR])];
}

/** mmdebstrap reads none of the machine's apt configuration: the ways out (proxies and the like) are handed on. */
async function transport(): Promise<string[]> {
  const { stdout } = await run('apt-config', ['dump']);
  return stdout.split('\n').filter((line) => /^Acquire::(https?|Retries)(::\S+)? ".+";$/.test(line));
}

async function extract(target: string, mirror: string): Promise<void> {
  const options = [
    // A testing suite's Release file is past its date now and then; its signature is checked all the same.
    'Acquire::Check-Valid-Until "false";',
    'APT::Install-Recommends "false";',
    ...(await transport()),
  ];
  const made = await run('mmdebstrap', [
    '--variant=extract', '--mode=chrootless', '--format=directory', `--include=${PACKAGES.join(',')}`,
    ...options.map((option) => `--aptopt=${option}`),
    SUITE, target, `deb [signed-by=${KEYRING}] ${mirror} ${SUITE} main`,
  ]);
  if (made.code !== 0) {
    const said = [...made.stderr.matchAll(/^E: (.*)$/gm)].map((match) => match[1]).find((text) => !text?.startsWith('apt-get'));
    throw new Failure(`Kamailio could not be downloaded from ${mirror}: ${said ?? 'mmdebstrap failed'}`, lastLines(made.stderr, 15));
  }
}

/** Keeps what runs; adds the links that a package's own set-up would have made, and the two wrappers. */
async function finish(target: string): Promise<void> {
  const share = ['doc', 'man', 'locale', 'info', 'lintian', 'mime', 'fonts', 'icons', 'X11', 'bash-completion', 'zoneinfo'];
  const python = (await readdir(path.join(target, 'usr/lib'))).filter((name) => name.startsWith('python'));
  const unused = [...share.map((name) => `usr/share/${name}`), ...python.map((name) => `usr/lib/${name}`), 'usr/libexec', 'usr/include', 'usr/games', 'var'];
  await Promise.all(unused.map((name) => rm(path.join(target, name), { recursive: true, force: true })));
  for (const [folder, kept] of [['usr/bin', 'rtpengine'], ['usr/sbin', 'kamailio']] as const) {
    const names = await readdir(path.join(target, folder));
    await Promise.all(names.filter((name) => name !== kept).map((name) => rm(path.join(target, folder, name), { recursive: true, force: true })));
  }
  const lib = await libraries(target);
  const loader = (await readdir(lib ?? target)).find((name) => name.startsWith('ld-linux'));
  if (!lib || !loader) throw new Failure('The downloaded Kamailio is not complete: it has no dynamic loader.');
  const linked = await run('/sbin/ldconfig', ['-n', lib]);
  if (linked.code !== 0) throw new Failure('ldconfig could not link the libraries of the downloaded Kamailio.', linked.stderr);
  await mkdir(path.join(target, 'minivoice'), { recursive: true });
  const inside = path.relative(target, lib);
  for (const program of ['usr/sbin/kamailio', 'usr/bin/rtpengine']) {
    const wrapper = path.join(target, 'minivoice', path.basename(program));
    await writeFile(wrapper, [
      '#!/bin/sh',
      '# The newer C library this program was built for is beside it: start it with that library\'s own loader.',
      'root=$(cd "$(dirname "$0")/.." && pwd)',
      `lib="$root/${inside}"`,
      `exec "$lib/${loader}" --library-path "$lib:$lib/kamailio" "$root/${program}" "$@"`,
      '',
    ].join('\n'));
    await chmod(wrapper, 0o755);
  }
}

/**
 * Makes the root. Built beside its place and renamed into it, so that nobody ever sees half of one; two at once
 * both build, and the second one's work is thrown away.
 */
export async function makeEdgeRoot(): Promise<Edge> {
  await mkdir(cacheFolder(), { recursive: true });
  let reason: unknown;
  for (const mirror of await mirrors()) {
    const workshop = await mkdtemp(`${edgeRoot()}.new-`);
    try {
      const target = path.join(workshop, 'root');
      await extract(target, mirror);
      await finish(target);
      await rename(target, edgeRoot()).catch(async (error: unknown) => {
        if (await inRoot()) return;
        // A broken root is in the way: it is set aside and goes with the workshop.
        await rename(edgeRoot(), path.join(workshop, 'broken'));
        await rename(target, edgeRoot()).catch(() => { throw error; });
      });
      const edge = await inRoot();
      if (!edge) throw new Failure(`Debian ${SUITE} has no Kamailio of version ${OLDEST.join('.')} or later with http_async_client.`);
      return edge;
    } catch (error) {
      reason = error;
    } finally {
      await rm(workshop, { recursive: true, force: true });
    }
  }
  throw reason;
}
