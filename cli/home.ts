import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from './failure.ts';

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

export async function makeFolders(home: Home): Promise<void> {
  await mkdir(home.root, { recursive: true, mode: 0o700 });
  for (const folder of [home.logs, home.run, home.data, home.mediaFiles])
    await mkdir(folder, { recursive: true });
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
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text !== undefined) return JSON.parse(text) as Secrets;
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
