import path from 'node:path';
import { run } from '../exec.ts';
import { Failure } from '../failure.ts';
import { commandIn, folderOf, makeDebianRoot, type DebianRoot } from './debian-root.ts';

/** MySQL's own server. Debian's stable releases have MariaDB alone, so the server comes from Debian sid. */
export interface MySql {
  /** The command that runs mysqld. */
  mysqld: string;
  /** Where mysqld finds its messages and character sets. */
  basedir: string;
  version: string;
}

const ROOT: DebianRoot = {
  title: 'MySQL',
  name: 'mysql-sid-1',
  suite: 'sid',
  packages: ['mysql-server-core'],
  programs: ['usr/sbin/mysqld'],
};

/** The root in the cache folder, where there is one that works. */
export async function findMySql(): Promise<MySql | undefined> {
  const mysqld = commandIn(ROOT, 'mysqld');
  const version = /Ver (\d+\.\d+\.\d+)/.exec((await run(mysqld, ['--no-defaults', '--version'])).stdout)?.[1];
  return version === undefined ? undefined : { mysqld, basedir: path.join(folderOf(ROOT), 'usr'), version };
}

/** @throws Failure when Debian sid cannot be reached, or its mysqld does not run here. */
export async function makeMySqlRoot(): Promise<MySql> {
  await makeDebianRoot(ROOT, async () => (await findMySql()) !== undefined);
  const mysql = await findMySql();
  if (!mysql) throw new Failure('The downloaded MySQL does not run on this machine.');
  return mysql;
}
