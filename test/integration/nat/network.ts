import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where a platform stands behind a router, and the world in front of it. */
export const HOST = {
  /** The carrier: this process, in the network namespace it was started in. */
  carrier: '198.51.100.2',
  /** Another server of the carrier's, also here. */
  carrier2: '198.51.100.3',
  /** The router's address that the world knows; what comes to it goes to the edge. */
  world: '198.51.100.1',
  edge: '10.9.0.1',
  media: '10.9.0.2',
} as const;

/**
 * Addresses of a second network, over which control commands the others: as real as a cable for operators.
 * They are of the range for tests between networks (RFC 2544): the host itself may be at one of those for
 * documentation.
 */
export const CONTROL = {
  here: '198.18.77.1',
  edge: '198.18.77.2',
  thereToMedia: '198.18.77.5',
  media: '198.18.77.6',
} as const;

/** Why this machine cannot have such a network, or undefined. */
export async function missing(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'it needs root, to make network namespaces';
  for (const [program, args] of [
    ['ip', ['netns', 'list']],
    ['iptables', ['--version']],
  ] as const) {
    const found = await run(program, args).then(
      () => true,
      () => false,
    );
    if (!found) return `it needs ${program}`;
  }
  const name = `minivoice-try-${process.pid}`;
  const can = await run('ip', ['netns', 'add', name]).then(
    () => true,
    () => false,
  );
  if (can) await run('ip', ['netns', 'del', name]);
  return can ? undefined : 'network namespaces cannot be made here';
}

/**
 * Three hosts in network namespaces: edge and media node on a network of their own, and the router that they
 * see the world through. It translates addresses as the routers of clouds do, one to one, and has no hairpin:
 * what comes from inside for its own outer address is lost.
 */
export class Network {
  readonly #id = process.pid % 100_000;
  readonly #children: ChildProcess[] = [];
  readonly #atExit = (): void => this.#remove();

  static async make(): Promise<Network> {
    const network = new Network();
    process.once('exit', network.#atExit);
    try {
      await network.#make();
    } catch (error) {
      await network.close();
      throw error;
    }
    return network;
  }

  /** Starts a program on one of the hosts. */
  spawn(host: 'edge' | 'media', command: readonly string[], env: Record<string, string>): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.#name(host), ...command], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.#children.push(child);
    return child;
  }

  /** Ends all programs and takes the network away. */
  async close(): Promise<void> {
    process.off('exit', this.#atExit);
    await rm(`/etc/netns/${this.#name('edge')}`, { recursive: true, force: true });
    const alive = this.#children.filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    );
    const gone = alive.map((child) => new Promise((resolve) => child.once('close', resolve)));
    this.#remove();
    await Promise.all(gone);
  }

  #name(host: string): string {
    return `minivoice-${host}-${this.#id}`;
  }

  async #make(): Promise<void> {
    const link = (name: string): string => `mv${name}${this.#id}`;
    const ip = (...args: string[]): Promise<unknown> => run('ip', args);
    for (const host of ['router', 'edge', 'media']) {
      await ip('netns', 'add', this.#name(host));
      await ip('-n', this.#name(host), 'link', 'set', 'lo', 'up');
    }
    // The edge asks for names over the control network, where a test may answer.
    await mkdir(`/etc/netns/${this.#name('edge')}`, { recursive: true });
    await writeFile(`/etc/netns/${this.#name('edge')}/resolv.conf`, `nameserver ${CONTROL.here}\n`);
    const [router, edge, media] = [this.#name('router'), this.#name('edge'), this.#name('media')];

    // The world: a cable from here to the router.
    await ip('link', 'add', link('w'), 'type', 'veth', 'peer', 'name', 'world', 'netns', router);
    await ip('address', 'add', `${HOST.carrier}/24`, 'dev', link('w'));
    await ip('address', 'add', `${HOST.carrier2}/24`, 'dev', link('w'));
    await ip('link', 'set', link('w'), 'up');
    await ip('-n', router, 'address', 'add', `${HOST.world}/24`, 'dev', 'world');
    await ip('-n', router, 'link', 'set', 'world', 'up');

    // The network behind it.
    await ip('-n', router, 'link', 'add', 'lan', 'type', 'bridge');
    await ip('-n', router, 'address', 'add', '10.9.0.254/24', 'dev', 'lan');
    await ip('-n', router, 'link', 'set', 'lan', 'up');
    for (const [host, name, address] of [
      [edge, 'edge', HOST.edge],
      [media, 'media', HOST.media],
    ] as const) {
      await ip('-n', router, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'lan', 'netns', host);
      await ip('-n', router, 'link', 'set', name, 'master', 'lan', 'up');
      await ip('-n', host, 'address', 'add', `${address}/24`, 'dev', 'lan');
      await ip('-n', host, 'link', 'set', 'lan', 'up');
      await ip('-n', host, 'route', 'add', 'default', 'via', '10.9.0.254');
    }
    const within = (...command: string[]): Promise<unknown> =>
      run('ip', ['netns', 'exec', router, ...command]);
    await within('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    await within(
      'iptables',
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      '-i',
      'world',
      '-d',
      HOST.world,
      '-j',
      'DNAT',
      '--to-destination',
      HOST.edge,
    );
    await within(
      'iptables',
      '-t',
      'nat',
      '-A',
      'POSTROUTING',
      '-o',
      'world',
      '-j',
      'SNAT',
      '--to-source',
      HOST.world,
    );
    await within('iptables', '-A', 'INPUT', '-i', 'lan', '-d', HOST.world, '-j', 'DROP');

    // The control network.
    for (const [host, name, here, there] of [
      [edge, 'e', CONTROL.here, CONTROL.edge],
      [media, 'm', CONTROL.thereToMedia, CONTROL.media],
    ] as const) {
      await ip('link', 'add', link(name), 'type', 'veth', 'peer', 'name', 'control', 'netns', host);
      await ip('address', 'add', `${here}/30`, 'dev', link(name));
      await ip('link', 'set', link(name), 'up');
      await ip('-n', host, 'address', 'add', `${there}/30`, 'dev', 'control');
      await ip('-n', host, 'link', 'set', 'control', 'up');
    }
  }

  /** Also when this process ends: nothing is left of it. */
  #remove(): void {
    for (const { pid, exitCode, signalCode } of this.#children) {
      if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
    }
    for (const host of ['router', 'edge', 'media']) {
      try {
        execFileSync('ip', ['netns', 'del', this.#name(host)], { stdio: 'ignore' });
      } catch {
        // It was not made.
      }
    }
  }
}
