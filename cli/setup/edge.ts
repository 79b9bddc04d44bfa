import path from 'node:path';
import { run, which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { commandIn, exists, folderOf, libraries, makeDebianRoot, type DebianRoot } from './debian-root.ts';

/**
 * Kamailio and rtpengine. Debian 12 and 13 have a Kamailio without http_async_client, or one whose module
 * spins (before 6.0.7), so both come from Debian forky.
 */
export interface Edge {
  kamailioBin: string;
  modules: string;
  rtpengineBin: string;
  kamailioVersion: string;
}

const ROOT: DebianRoot = {
  title: 'Kamailio and rtpengine',
  name: 'edge-forky-1',
  suite: 'forky',
  packages: [
    'kamailio',
    'kamailio-extra-modules',
    'kamailio-json-modules',
    'kamailio-tls-modules',
    'rtpengine-daemon',
  ],
  programs: ['usr/sbin/kamailio', 'usr/bin/rtpengine'],
  libraryFolders: ['kamailio'],
};
/** Older ones leak events in http_async_client until a worker spins. */
const OLDEST = [6, 0, 7] as const;

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
  if (!(await exists(path.join(modules, 'http_async_client.so'))) || !(await exists(rtpengineBin)))
    return undefined;
  const version = kamailioVersion((await run(kamailioBin, ['-v'])).stdout);
  return version && isRecent(version)
    ? { kamailioBin, modules, rtpengineBin, kamailioVersion: version }
    : undefined;
}

async function inRoot(): Promise<Edge | undefined> {
  const lib = await libraries(folderOf(ROOT));
  if (!lib) return undefined;
  return usable(
    commandIn(ROOT, 'kamailio'),
    path.join(lib, 'kamailio/modules'),
    commandIn(ROOT, 'rtpengine'),
  );
}

async function ofSystem(): Promise<Edge | undefined> {
  const [kamailio, rtpengine, lib] = await Promise.all([
    which('kamailio'),
    which('rtpengine'),
    libraries('/'),
  ]);
  return kamailio && rtpengine && lib
    ? usable(kamailio, path.join(lib, 'kamailio/modules'), rtpengine)
    : undefined;
}

/** What is there already: named by the environment, the machine's own, or the root in the cache folder. */
export async function findEdge(): Promise<Edge | undefined> {
  const { KAMAILIO_BIN, KAMAILIO_MODULES, RTPENGINE_BIN } = process.env;
  if (KAMAILIO_BIN && KAMAILIO_MODULES && RTPENGINE_BIN)
    return usable(KAMAILIO_BIN, KAMAILIO_MODULES, RTPENGINE_BIN);
  return (await ofSystem()) ?? inRoot();
}

/** @throws Failure when Debian forky cannot be reached, or has no Kamailio that is recent enough. */
export async function makeEdgeRoot(): Promise<Edge> {
  await makeDebianRoot(ROOT, async () => (await inRoot()) !== undefined);
  const edge = await inRoot();
  if (!edge)
    throw new Failure(
      `Debian forky has no Kamailio of version ${OLDEST.join('.')} or later with http_async_client.`,
    );
  return edge;
}
