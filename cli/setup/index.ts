import { createHash } from 'node:crypto';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { run, which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { step } from '../steps.ts';
import { cacheFolder } from './debian-root.ts';
import { findEdge, makeEdgeRoot, type Edge } from './edge.ts';
import { findMySql, makeMySqlRoot, type MySql } from './mysql.ts';
import { installTools, missingTools, titleOf, type ToolName } from './packages.ts';

export interface Tools {
  edge: Edge;
  redisServer: string;
  /** There when it was asked for. */
  mysql?: MySql;
}

/**
 * Makes everything there that an instance and the tests need; shows a step only for what has to be done.
 * @param needs `mysql`: MySQL's own server too, beside MariaDB; `networks`: the programs with which tests
 *   make network namespaces and routers
 */
export async function setUp(needs: { mysql?: boolean; networks?: boolean } = {}): Promise<Tools> {
  let edge = await findEdge();
  let mysql = needs.mysql ? await findMySql() : undefined;
  const download = !edge || (needs.mysql && !mysql);
  const wanted: ToolName[] = ['mariadb', 'mariadbClient', 'redis', 'espeak', 'sipp'];
  if (needs.networks) wanted.push('iproute', 'iptables');
  if (download) wanted.push('mmdebstrap', 'keyring');
  const missing = await missingTools(wanted);
  if (missing.length > 0)
    await step(`${titleOf(missing)} from Debian packages`, () => installTools(missing), { long: true });
  if (!edge) {
    await step(
      'Kamailio and rtpengine from Debian forky, once',
      async () => {
        edge = await makeEdgeRoot();
        return `Kamailio ${edge.kamailioVersion} and rtpengine from Debian forky`;
      },
      { long: true },
    );
  }
  if (!edge) throw new Failure('Kamailio is not there.');
  if (needs.mysql && !mysql) {
    await step(
      'MySQL from Debian sid, once',
      async () => {
        mysql = await makeMySqlRoot();
        return `MySQL ${mysql.version} from Debian sid`;
      },
      { long: true },
    );
  }
  return { edge, redisServer: await redisServer(), ...(mysql ? { mysql } : {}) };
}

/** redis-server itself, or a link of that name to the same program as redis-tools brings it. */
async function redisServer(): Promise<string> {
  const own = await which('redis-server');
  if (own) return own;
  const program = await which('redis-check-rdb');
  if (!program) throw new Failure('Redis is not there.');
  const folder = path.join(
    cacheFolder(),
    `redis-${createHash('sha256').update(program).digest('hex').slice(0, 8)}`,
  );
  const link = path.join(folder, 'redis-server');
  await mkdir(folder, { recursive: true });
  await symlink(program, link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  if (!(await run(link, ['--version'])).stdout.startsWith('Redis server'))
    throw new Failure(
      'The Redis of this machine is packaged in a way that is not understood: install redis-server.',
    );
  return link;
}
