import { rename, rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import path from 'node:path';
import { lastLines, run, type Result } from '../exec.ts';
import { Failure } from '../failure.ts';
import { homeAt, writePrivate } from '../home.ts';
import { coordinatesOf, type DatabaseKind, type Settings } from '../settings.ts';
import { exists } from '../setup/debian-root.ts';
import type { PartSpec } from './part-spec.ts';
import { probeDatabase } from './probes.ts';

/** One kind of database server: how it is started, and how its data folder is made. */
interface Server {
  title: string;
  command: string[];
  /** Fills a data folder that is not there yet. */
  initialize: (datadir: string) => Promise<Result>;
}

/** MariaDB or MySQL, on a data folder of its own. */
export function database(settings: Settings): PartSpec {
  const { database_url } = coordinatesOf(settings);
  const home = homeAt(settings.home);
  const datadir = path.join(home.data, settings.database);
  const init = path.join(home.run, 'database-init.sql');
  const password = settings.secrets.databasePassword;
  const user = `--user=${userInfo().username}`;
  const { title, command, initialize } = SERVERS[settings.database](settings, user);
  return {
    name: 'database',
    title,
    command: [
      ...command,
      user,
      `--datadir=${datadir}`,
      `--socket=${path.join(home.run, 'database.sock')}`,
      `--pid-file=${path.join(home.run, 'database.pid')}`,
      `--tmpdir=${home.run}`,
      '--bind-address=127.0.0.1',
      `--port=${settings.ports.database}`,
      '--skip-name-resolve',
      `--init-file=${init}`,
      '--character-set-server=utf8mb4',
      '--default-time-zone=+00:00',
      '--innodb-buffer-pool-size=128M',
      '--max-connections=200',
      '--skip-log-bin',
    ],
    async prepare() {
      if (!(await exists(datadir))) await createDatabase(title, datadir, initialize);
      // Carried out at each start: a password that was changed by hand is set right again.
      await writePrivate(
        init,
        [
          'CREATE DATABASE IF NOT EXISTS minivoice CHARACTER SET utf8mb4;',
          `CREATE USER IF NOT EXISTS 'minivoice'@'127.0.0.1' IDENTIFIED BY '${password}';`,
          `ALTER USER 'minivoice'@'127.0.0.1' IDENTIFIED BY '${password}';`,
          // Tests make databases of their own on the private servers started for them.
          `GRANT ALL ON *.* TO 'minivoice'@'127.0.0.1';`,
          `ALTER USER 'root'@'localhost' IDENTIFIED BY '${password}';`,
          '',
        ].join('\n'),
      );
    },
    probe: () => probeDatabase(database_url),
    readyWithinMs: 60_000,
    stopWithinMs: 30_000,
  };
}

const SERVERS: Record<DatabaseKind, (settings: Settings, user: string) => Server> = {
  mariadb: (_settings, user) => ({
    title: 'MariaDB',
    command: ['mariadbd', '--no-defaults'],
    initialize: (datadir) =>
      run(
        'mariadb-install-db',
        [
          '--no-defaults',
          user,
          // Named from the folder above it: the script's chown takes a path with a blank for two.
          `--datadir=./${path.basename(datadir)}`,
          '--auth-root-authentication-method=normal',
          '--skip-name-resolve',
          '--skip-test-db',
        ],
        { cwd: path.dirname(datadir) },
      ),
  }),
  mysql: ({ tools }, user) => {
    if (!tools.mysql) throw new Failure('MySQL is not there.');
    const { mysqld, basedir } = tools.mysql;
    const base = ['--no-defaults', `--basedir=${basedir}`];
    return {
      title: 'MySQL',
      // Without a folder for exported files, which the packages make only when they are installed; without
      // the X protocol.
      command: [mysqld, ...base, '--secure-file-priv=NULL', '--mysqlx=OFF'],
      initialize: (datadir) => run(mysqld, [...base, user, '--initialize-insecure', `--datadir=${datadir}`]),
    };
  },
};

/** Made beside its place and renamed, so that a set-up that was cut short is made anew. */
async function createDatabase(
  title: string,
  datadir: string,
  initialize: Server['initialize'],
): Promise<void> {
  const draft = `${datadir}.new`;
  await rm(draft, { recursive: true, force: true });
  const made = await initialize(draft);
  if (made.code !== 0)
    throw new Failure(`${title} could not set its data folder up.`, lastLines(made.stdout + made.stderr, 15));
  await rename(draft, datadir);
}
