import { environment } from '../control/config.ts';
import { Failure } from './failure.ts';
import { which } from './exec.ts';
import { mediaPorts, portsFrom, type Ports } from './ports.ts';
import { secretsOf, type Home, type Secrets } from './home.ts';
import type { Tools } from './setup/index.ts';

/** Which media nodes an instance has: ours, a FreeSWITCH we start, or ones that run already. */
export type Media =
  | { kind: 'embedded'; count?: number }
  | { kind: 'freeswitch'; binary: string; count?: number }
  | { kind: 'freeswitch'; nodes: string[]; eslPassword: string };

/** The parts of an instance, in the order in which they start. */
export const PARTS = ['database', 'redis', 'rtpengine', 'media', 'kamailio', 'control'] as const;
export type Part = (typeof PARTS)[number];

export type DatabaseKind = 'mariadb' | 'mysql';

/** Everything the supervisor needs to know; `up` writes it, the supervisor reads it. */
export interface Settings {
  home: string;
  parts: Part[];
  ports: Ports;
  media: Media;
  database: DatabaseKind;
  tools: Tools;
  secrets: Secrets;
  /** What the person who said `up` set of the control plane's own environment. */
  environment: Record<string, string>;
}

/** Media nodes that an instance may start. */
const MOST_NODES = 4;

/** @throws Failure for a choice that cannot be met. */
export async function mediaFrom(env: NodeJS.ProcessEnv): Promise<Media> {
  const kind = env['MINIVOICE_MEDIA'] || 'embedded';
  const count = Number(env['MINIVOICE_MEDIA_NODES'] || 1);
  if (!Number.isInteger(count) || count < 1 || count > MOST_NODES)
    throw new Failure(
      `MINIVOICE_MEDIA_NODES must be a number from 1 to ${MOST_NODES}, and is ${JSON.stringify(env['MINIVOICE_MEDIA_NODES'])}.`,
    );
  if (kind === 'embedded') return { kind, count };
  if (kind !== 'freeswitch')
    throw new Failure(`MINIVOICE_MEDIA must be embedded or freeswitch, and is ${JSON.stringify(kind)}.`);
  const nodes =
    env['FREESWITCH_NODES']
      ?.split(',')
      .map((node) => node.trim())
      .filter(Boolean) ?? [];
  if (nodes.length > 0) {
    const odd = nodes.find((node) => !/^[^:]+:\d+:\d+$/.test(node));
    if (odd)
      throw new Failure(
        `FREESWITCH_NODES must be host:esl-port:sip-port, comma-separated, and has ${JSON.stringify(odd)}.`,
      );
    const eslPassword = env['FREESWITCH_ESL_PASSWORD'];
    if (!eslPassword)
      throw new Failure(
        'FREESWITCH_NODES needs FREESWITCH_ESL_PASSWORD, the password of their event sockets.',
      );
    return { kind, nodes, eslPassword };
  }
  const binary = await which(env['FREESWITCH_BIN'] || 'freeswitch');
  if (!binary)
    throw new Failure(
      'MINIVOICE_MEDIA=freeswitch needs FREESWITCH_BIN=<path of freeswitch> or FREESWITCH_NODES=host:esl-port:sip-port,…',
    );
  return { kind, binary, count };
}

/** @throws Failure for a database we cannot start. */
export function databaseFrom(env: NodeJS.ProcessEnv): DatabaseKind {
  const kind = env['MINIVOICE_DB'] || 'mariadb';
  if (kind !== 'mariadb' && kind !== 'mysql') {
    throw new Failure(`MINIVOICE_DB must be mariadb or mysql, and is ${JSON.stringify(kind)}.`);
  }
  return kind;
}

/**
 * What of the control plane's environment table the person has set, except what the instance itself decides.
 */
function ownEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const set = Object.keys(environment.shape).map((name) => [name, env[name]] as const);
  return Object.fromEntries(set.filter((pair): pair is [string, string] => Boolean(pair[1])));
}

/**
 * What of an instance differs from the usual: every part, the embedded media node, MariaDB, the well-known
 * ports.
 */
export interface InstanceOptions {
  base?: number | undefined;
  media?: Media;
  database?: DatabaseKind;
  parts?: Part[];
}

export async function settingsFor(
  home: Home,
  tools: Tools,
  options: InstanceOptions = {},
): Promise<Settings> {
  return {
    home: home.root,
    parts: options.parts ?? [...PARTS],
    ports: portsFrom(options.base),
    media: options.media ?? { kind: 'embedded' },
    database: options.database ?? 'mariadb',
    tools,
    secrets: await secretsOf(home),
    environment: ownEnvironment(process.env),
  };
}

/** Where everything of an instance is reached: what tests and `status --json` are made of. */
export function coordinatesOf(settings: Settings) {
  const { ports, secrets, media } = settings;
  const nodes =
    'nodes' in media
      ? media.nodes
      : mediaPorts(ports, media.count).map(({ esl, sip }) => `127.0.0.1:${esl}:${sip}`);
  return {
    api: `http://127.0.0.1:${ports.api}`,
    admin_token: secrets.adminToken,
    sip: `127.0.0.1:${ports.sip}`,
    media: { kind: media.kind },
    home: settings.home,
    rpc: `http://127.0.0.1:${ports.rpc}/RPC`,
    edge: `http://127.0.0.1:${ports.edge}`,
    edge_token: secrets.edgeToken,
    database_url: `mysql://minivoice:${secrets.databasePassword}@127.0.0.1:${ports.database}/minivoice`,
    redis_url: `redis://:${secrets.redisPassword}@127.0.0.1:${ports.redis}/0`,
    media_nodes: nodes,
    esl: {
      host: '127.0.0.1',
      port: ports.mediaEsl,
      password: 'eslPassword' in media ? media.eslPassword : secrets.eslPassword,
    },
    media_sip: `127.0.0.1:${ports.mediaSip}`,
    rtpengine_ng: `127.0.0.1:${ports.rtpengine}`,
    media_files_dir: `${settings.home}/media-files`,
    ports,
  };
}

export type Coordinates = ReturnType<typeof coordinatesOf>;
