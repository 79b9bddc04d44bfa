import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createConnection } from 'mysql2/promise';
import { homeAt, makeFolders, REPOSITORY } from '../home.ts';
import { Instance } from '../instance.ts';
import { freeBase } from '../ports.ts';
import { coordinatesOf, settingsFor, type Coordinates, type InstanceOptions } from '../settings.ts';
import type { Tools } from '../setup/index.ts';

/**
 * Out of the way of the default instance (20000…) and of the ports the kernel gives to clients (32768…60999).
 */
const BASES = [23000, 26000, 29000, 17000, 14000, 61000];

/** One after the other: ports are free until somebody listens on them. */
let launching: Promise<unknown> = Promise.resolve();

/** An instance in a temporary folder, on free ports, for one suite or benchmark. */
export interface PrivateInstance {
  coordinates: Coordinates;
  /** A JSON file of the coordinates and components. */
  statusFile: string;
  /**
   * Ends it and removes its folder.
   * @param keepLogsAs a name under .minivoice/test-logs.
   * @returns where the logs are then.
   */
  end: (keepLogsAs?: string) => Promise<string | undefined>;
}

export async function privateInstance(
  tools: Tools,
  options: Omit<InstanceOptions, 'base'> = {},
): Promise<PrivateInstance> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-'));
  const home = homeAt(folder);
  const instance = new Instance(home);
  const end = async (keepLogsAs?: string): Promise<string | undefined> => {
    await instance.down();
    let kept: string | undefined;
    if (keepLogsAs) {
      kept = path.join(REPOSITORY, '.minivoice/test-logs', keepLogsAs);
      await rm(kept, { recursive: true, force: true });
      await cp(home.logs, kept, { recursive: true });
    }
    await rm(folder, { recursive: true, force: true });
    return kept;
  };
  try {
    await makeFolders(home);
    const launched = launching.then(async () => {
      const settings = await settingsFor(home, tools, { ...options, base: await freeBase(BASES) });
      await instance.launch(settings);
      return { settings, ...(await instance.whenReady()) };
    });
    launching = launched.catch(() => undefined);
    const { settings, components } = await launched;
    const coordinates = coordinatesOf(settings);
    await createTestDatabase(coordinates.database_url);
    const statusFile = path.join(folder, 'status.json');
    await writeFile(statusFile, JSON.stringify({ ...coordinates, components }, null, 2), { mode: 0o600 });
    return { coordinates, statusFile, end };
  } catch (error) {
    await end('start');
    throw error;
  }
}

/** Tests that need the tables alone have a database beside the instance's own. */
async function createTestDatabase(url: string): Promise<void> {
  const connection = await createConnection({ uri: url });
  await connection.query('CREATE DATABASE minivoice_test CHARACTER SET utf8mb4');
  await connection.end();
}

/** What tests and benchmarks see of it, and of the programs an instance is made of. */
export function environmentFor(tools: Tools, instance?: PrivateInstance): Record<string, string> {
  const { edge } = tools;
  const programs = {
    KAMAILIO_BIN: edge.kamailioBin,
    KAMAILIO_MODULES: edge.modules,
    RTPENGINE_BIN: edge.rtpengineBin,
  };
  if (!instance) return programs;
  const { database_url, redis_url } = instance.coordinates;
  return {
    ...programs,
    MINIVOICE_TEST_DATABASE_URL: database_url.replace(/\/minivoice$/, '/minivoice_test'),
    MINIVOICE_TEST_REDIS_URL: redis_url.replace(/\/0$/, '/1'),
    MINIVOICE_STATUS: instance.statusFile,
  };
}
