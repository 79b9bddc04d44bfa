import { run, which } from '../exec.ts';
import { Failure } from '../failure.ts';
import { lastLines } from '../exec.ts';

/**
 * The programs that come from the machine's own Debian or Ubuntu packages. Only packages that bring no
 * service are named, so that nothing is started, enabled or configured on the machine: `mariadb-server-core`
 * and not `mariadb-server`, and `redis-tools`, whose redis-check-rdb is the very file that `redis-server` is
 * a link to.
 */
interface Tool {
  /** As the step's title names it. */
  title: string;
  /** The programs needed; the last one of a group separated by `|` will do as well as the first. */
  programs: string[];
  /** Matches the package's name: Ubuntu 22.04 has versions in MariaDB's. */
  package: RegExp;
}

const TOOLS: Record<string, Tool> = {
  mariadb: {
    title: 'MariaDB',
    programs: ['mariadbd', 'mariadb-install-db'],
    package: /^mariadb-server-core(-[\d.]+)?$/,
  },
  // mariadb-install-db calls my_print_defaults, which is in here.
  mariadbClient: {
    title: 'MariaDB',
    programs: ['my_print_defaults'],
    package: /^mariadb-client-core(-[\d.]+)?$/,
  },
  redis: { title: 'Redis', programs: ['redis-server|redis-check-rdb'], package: /^redis-tools$/ },
  espeak: { title: 'espeak-ng', programs: ['espeak-ng'], package: /^espeak-ng$/ },
  sipp: { title: 'SIPp', programs: ['sipp'], package: /^sip-tester$/ },
  iproute: { title: 'iproute2', programs: ['ip'], package: /^iproute2$/ },
  iptables: { title: 'iptables', programs: ['iptables'], package: /^iptables$/ },
  mmdebstrap: { title: 'mmdebstrap', programs: ['mmdebstrap'], package: /^mmdebstrap$/ },
  keyring: { title: "Debian's keys", programs: [], package: /^debian-archive-keyring$/ },
};

export type ToolName = keyof typeof TOOLS;

const present = async (programs: string[]): Promise<boolean> => {
  for (const choice of programs) {
    const found = await Promise.all(choice.split('|').map(which));
    if (!found.some(Boolean)) return false;
  }
  return true;
};

/** The tools among `names` that are not installed. A tool without programs is asked of dpkg. */
export async function missingTools(names: ToolName[]): Promise<Tool[]> {
  const missing: Tool[] = [];
  for (const name of names) {
    const tool = TOOLS[name];
    if (!tool) continue;
    const plain = tool.package.source.replaceAll(/^\^|\$$/g, '');
    const there =
      tool.programs.length > 0 ? await present(tool.programs) : (await run('dpkg', ['-s', plain])).code === 0;
    if (!there) missing.push(tool);
  }
  return missing;
}

export const titleOf = (tools: Tool[]): string => [...new Set(tools.map((tool) => tool.title))].join(', ');

/** What goes before a command that needs root. @throws Failure where there is no way. */
async function privilege(packages: string): Promise<string[]> {
  if (process.getuid?.() === 0) return [];
  if ((await run('sudo', ['-n', 'true'])).code === 0) return ['sudo', '-n'];
  throw new Failure(
    `Installing ${packages} needs root: run it as root, with passwordless sudo, or say once: sudo apt-get install --no-install-recommends ${packages}`,
  );
}

async function packageNames(tools: Tool[]): Promise<string[] | undefined> {
  const { stdout } = await run('apt-cache', ['pkgnames']);
  const known = stdout.split('\n');
  const names = tools.map(
    (tool) => known.filter((name) => tool.package.test(name)).sort((a, b) => a.length - b.length)[0],
  );
  return names.every((name) => name !== undefined) ? names.filter((name) => name !== undefined) : undefined;
}

/** Installs what `missingTools` named. @throws Failure: no apt-get, no privilege, or what apt-get said. */
export async function installTools(tools: Tool[]): Promise<void> {
  if (tools.length === 0) return;
  if (!(await which('apt-get')))
    throw new Failure(`This machine has no apt-get, so ${titleOf(tools)} must be installed by hand.`);
  const env = { ...process.env, LC_ALL: 'C' };
  const apt = async (as: string[], ...args: string[]) => {
    // Suspended, needrestart (on Ubuntu) leaves the machine's services alone.
    const line = [
      ...as,
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'NEEDRESTART_SUSPEND=1',
      'apt-get',
      '-q',
      '-o',
      'DPkg::Lock::Timeout=120',
      ...args,
    ];
    return run(line[0] ?? '', line.slice(1), { env });
  };
  const reason = (output: string): string =>
    [...output.matchAll(/^E: (.*)$/gm)].at(-1)?.[1] ?? 'apt-get failed';
  let names = await packageNames(tools);
  const as = await privilege(
    (names ?? tools.map((tool) => tool.package.source.replaceAll(/^\^|\(.*|\$$/g, ''))).join(' '),
  );
  let updated = false;
  const update = async (): Promise<void> => {
    updated = true;
    const result = await apt(as, 'update');
    if (result.code !== 0)
      throw new Failure(
        `The package lists could not be downloaded: ${reason(result.stderr)}`,
        lastLines(result.stderr, 15),
      );
    names = await packageNames(tools);
  };
  if (!names) await update();
  for (;;) {
    if (!names) throw new Failure(`This machine's package sources do not have ${titleOf(tools)}.`);
    const result = await apt(as, 'install', '-y', '--no-install-recommends', ...names);
    if (result.code === 0) break;
    // Old lists name package files that the mirror no longer has.
    if (updated)
      throw new Failure(
        `${names.join(', ')} could not be installed: ${reason(result.stderr)}`,
        lastLines(result.stderr, 15),
      );
    await update();
  }
  const still = await missingTools(
    Object.keys(TOOLS).filter((name) => tools.some((tool) => tool === TOOLS[name])),
  );
  if (still.length > 0) throw new Failure(`${titleOf(still)} was installed, but its programs are not there.`);
}
