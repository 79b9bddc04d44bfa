import { randomBytes } from 'node:crypto';
import { access, constants, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure, reasonOf } from './failure.ts';

/** The folder of the repository. */
export const REPOSITORY = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** How a TypeScript file of ours is run, from whatever folder. */
export const NODE = [process.execPath, '--import', import.meta.resolve('tsx')] as const;

/** The folders and files of one instance's state. */
export interface Home {
  root: string;
  logs: string;
  run: string;
  data: string;
  mediaFiles: string;
  /** Where the supervisor answers. */
  socket: string;
  /** What the running instance was started with. */
  config: string;
  /** The processes the supervisor started, so that another can end them after it was killed. */
  processes: string;
}

/** A UNIX socket's path holds 107 bytes (unix(7)); the longest name we add has 21. */
const LONGEST = 85;

export function homeAt(folder: string): Home {
  const root = path.resolve(folder);
  if (Buffer.byteLength(root) > LONGEST)
    throw new Failure(
      `The path of MINIVOICE_HOME is too long for the sockets in it: at most ${LONGEST} bytes, and ${root} has ${Buffer.byteLength(root)}.`,
    );
  const at = (name: string): string => path.join(root, name);
  return {
    root,
    logs: at('logs'),
    run: at('run'),
    data: at('data'),
    mediaFiles: at('media-files'),
    socket: at('run/supervisor.sock'),
    config: at('run/instance.json'),
    processes: at('run/processes.json'),
  };
}

/** `$MINIVOICE_HOME`, or `.minivoice` in the repository. */
export const defaultHome = (): Home =>
  homeAt(process.env['MINIVOICE_HOME'] || path.join(REPOSITORY, '.minivoice'));

/**
 * Makes the folders of a home that are not there yet.
 * @throws Failure where they cannot be made, or cannot be written
 */
export async function makeFolders(home: Home): Promise<void> {
  try {
    await makeFolder(home.root, 0o700);
    for (const folder of [home.logs, home.run, home.data, home.mediaFiles]) await makeFolder(folder, 0o777);
    await access(home.root, constants.W_OK);
  } catch (error) {
    throw new Failure(
      `${home.root}, where the state is to live, cannot be written: ${reasonOf(error as NodeJS.ErrnoException)}. MINIVOICE_HOME names another folder.`,
    );
  }
}

/** As mkdir with `recursive`, which never returns where a file system makes no folders: /proc (Node 20). */
async function makeFolder(folder: string, mode: number): Promise<void> {
  const make = (): Promise<void> =>
    mkdir(folder, { mode }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  await make().catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    await makeFolder(path.dirname(folder), 0o777);
    await make();
  });
}

export interface Secrets {
  adminToken: string;
  edgeToken: string;
  databasePassword: string;
  redisPassword: string;
  eslPassword: string;
  /** 32 bytes in hex: encrypts what is secret at rest. */
  secretKey: string;
}

const hex = (bytes: number): string => randomBytes(bytes).toString('hex');

/** Written whole and then named, so that a reader never sees half of it. */
export async function writePrivate(file: string, text: string): Promise<void> {
  const draft = `${file}.${hex(4)}`;
  await writeFile(draft, text, { mode: 0o600 });
  await rename(draft, file);
}

/** The instance's secrets, made once. Losing the file loses what is encrypted in the database. */
export async function secretsOf(home: Home): Promise<Secrets> {
  const file = path.join(home.root, 'secrets.json');
  // Secrets that are there and cannot be read are never made anew: what they encrypted would be lost.
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text !== undefined) return secretsFrom(text, file);
  const secrets: Secrets = {
    adminToken: `mv_admin_${hex(20)}`,
    edgeToken: hex(24),
    databasePassword: hex(16),
    redisPassword: hex(16),
    eslPassword: hex(16),
    secretKey: hex(32),
  };
  await writePrivate(file, JSON.stringify(secrets, null, 2));
  return secrets;
}

/** @throws Failure for a file that was damaged. */
function secretsFrom(text: string, file: string): Secrets {
  try {
    return JSON.parse(text) as Secrets;
  } catch {
    throw new Failure(
      `${file} is not JSON: bring it back from a backup; it decrypts what is in the database.`,
    );
  }
}
