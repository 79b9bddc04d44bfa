import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../exec.ts';
import { mediaPorts } from '../ports.ts';
import { homeAt, makeFolders, NODE, REPOSITORY, writePrivate } from '../home.ts';
import { exists } from '../setup/debian-root.ts';
import { coordinatesOf, type Part, type Settings } from '../settings.ts';
import { database } from './database.ts';
import type { PartSpec } from './part-spec.ts';
import { probeControl, probeKamailio, probeMedia, probeRedis, probeRtpengine } from './probes.ts';

/** The version of what comes from this repository. */
async function ownVersion(): Promise<string> {
  return (JSON.parse(await readFile(path.join(REPOSITORY, 'package.json'), 'utf8')) as { version: string })
    .version;
}

/** The parts of an instance with their commands and environments, in the order of `settings.parts`. */
export function partsOf(settings: Settings): PartSpec[] {
  const makers: Record<Part, () => PartSpec[]> = {
    database: () => [database(settings)],
    redis: () => [redis(settings)],
    rtpengine: () => [rtpengine(settings)],
    media: () => media(settings),
    kamailio: () => [kamailio(settings)],
    control: () => [control(settings)],
  };
  return settings.parts.flatMap((part) => makers[part]());
}

function redis(settings: Settings): PartSpec {
  const home = homeAt(settings.home);
  const file = path.join(home.run, 'redis.conf');
  return {
    name: 'redis',
    title: 'Redis',
    command: [settings.tools.redisServer, file],
    async prepare() {
      // In a file, since a command line can be read by everybody. Nothing is kept on disk: Redis holds what
      // can be rebuilt.
      await writePrivate(
        file,
        [
          'bind 127.0.0.1',
          `port ${settings.ports.redis}`,
          `requirepass ${settings.secrets.redisPassword}`,
          `dir "${home.data}"`,
          'save ""',
          'appendonly no',
          'daemonize no',
          'loglevel notice',
          '',
        ].join('\n'),
      );
    },
    probe: () => probeRedis(settings.ports.redis, settings.secrets.redisPassword),
    readyWithinMs: 15_000,
    stopWithinMs: 5_000,
  };
}

function rtpengine(settings: Settings): PartSpec {
  const { ports } = settings;
  let version = '';
  return {
    name: 'rtpengine',
    title: 'rtpengine',
    command: [path.join(REPOSITORY, 'rtpengine/start.sh')],
    env: {
      RTPENGINE_BIN: settings.tools.edge.rtpengineBin,
      RTPENGINE_LISTEN_NG: `127.0.0.1:${ports.rtpengine}`,
      RTPENGINE_INTERFACE: '127.0.0.1',
      RTP_MIN: String(ports.rtp.first),
      RTP_MAX: String(ports.rtp.last),
    },
    async prepare() {
      const said = await run(settings.tools.edge.rtpengineBin, ['--version']);
      version = /(\d+\.\d+\.\d+)/.exec(said.stdout + said.stderr)?.[1] ?? '';
    },
    probe: async () => (await probeRtpengine(ports.rtpengine)) || version,
    readyWithinMs: 15_000,
    stopWithinMs: 5_000,
  };
}

function media(settings: Settings): PartSpec[] {
  const { ports, secrets, media: choice } = settings;
  const home = homeAt(settings.home);
  if ('nodes' in choice) {
    return choice.nodes.map((node) => {
      const [host = '', esl] = node.split(':');
      return {
        name: choice.nodes.length > 1 ? `media@${node}` : 'media',
        title: `FreeSWITCH at ${host}`,
        probe: () => probeMedia(Number(esl), choice.eslPassword, host),
        readyWithinMs: 15_000,
        stopWithinMs: 0,
      };
    });
  }
  return mediaPorts(ports, choice.count).map(({ sip, esl, rtp }, i): PartSpec => {
    const suffix = i === 0 ? '' : `-${i + 1}`;
    const title = i === 0 ? '' : ` ${i + 1}`;
    const env = {
      FREESWITCH_SIP_IP: '127.0.0.1',
      FREESWITCH_SIP_PORT: String(sip),
      FREESWITCH_SIP_ACL: '127.0.0.0/8',
      FREESWITCH_RTP_START: String(rtp.first),
      FREESWITCH_RTP_END: String(rtp.last),
      FREESWITCH_ESL_IP: '127.0.0.1',
      FREESWITCH_ESL_PORT: String(esl),
      FREESWITCH_ESL_ACL: '127.0.0.0/8',
      FREESWITCH_ESL_PASSWORD: secrets.eslPassword,
      FREESWITCH_MAX_SESSIONS: '1000',
    };
    const probe = (): Promise<string> => probeMedia(esl, secrets.eslPassword);
    if (choice.kind === 'embedded') {
      return {
        name: `media${suffix}`,
        title: `Embedded media node${title}`,
        command: [...NODE, path.join(REPOSITORY, 'freeswitch/embedded/main.ts')],
        env: { ...env, LOG_LEVEL: settings.environment['LOG_LEVEL'] ?? 'info' },
        // It answers with the version of the FreeSWITCH it stands for; ours says more about what runs.
        probe: () => probe().then(ownVersion),
        readyWithinMs: 20_000,
        stopWithinMs: 5_000,
      };
    }
    const folders = [
      'log',
      'run',
      'db',
      'temp',
      'scripts',
      'htdocs',
      'grammar',
      'certs',
      'sounds',
      'storage',
      'cache',
      'recordings',
    ];
    const at = (name: string): string => path.join(home.data, `freeswitch${suffix}`, name);
    return {
      name: `media${suffix}`,
      title: `FreeSWITCH${title}`,
      command: [
        choice.binary,
        '-nf',
        '-nc',
        '-nonat',
        '-conf',
        path.join(REPOSITORY, 'freeswitch/conf'),
        ...folders.flatMap((name) => [`-${name}`, at(name)]),
      ],
      env,
      async prepare() {
        // Private, because FreeSWITCH writes its expanded configuration, password included, into its log
        // folder.
        for (const name of folders) await mkdir(at(name), { recursive: true, mode: 0o700 });
        const shown = path.join(home.logs, `freeswitch${suffix}.log`);
        if (!(await exists(shown)))
          await rm(shown, { force: true }).then(() => symlink(at('log/freeswitch.log'), shown));
      },
      probe,
      readyWithinMs: 60_000,
      stopWithinMs: 15_000,
    };
  });
}

function kamailio(settings: Settings): PartSpec {
  const { ports, tools } = settings;
  const { rpc, edge, edge_token, media_nodes } = coordinatesOf(settings);
  const runDir = path.join(homeAt(settings.home).run, 'kamailio');
  return {
    name: 'kamailio',
    title: 'Kamailio',
    command: [path.join(REPOSITORY, 'kamailio/start.sh')],
    env: {
      MINIVOICE_PROFILE: 'development',
      KAMAILIO_BIN: tools.edge.kamailioBin,
      KAMAILIO_MODULES: tools.edge.modules,
      KAMAILIO_RUN_DIR: runDir,
      KAMAILIO_WORKERS: '2',
      SIP_IP: '127.0.0.1',
      SIP_PORT: String(ports.sip),
      RPC_IP: '127.0.0.1',
      RPC_PORT: String(ports.rpc),
      CONTROL_URL: edge,
      CONTROL_IPS: '127.0.0.1',
      EDGE_TOKEN: edge_token,
      RTPENGINE_SOCK: `udp:127.0.0.1:${ports.rtpengine}`,
      MEDIA_NODES: media_nodes.map((node) => node.replace(/:\d+:/, ':')).join(','),
    },
    prepare: async () => void (await mkdir(runDir, { recursive: true })),
    probe: () => probeKamailio(rpc),
    readyWithinMs: 20_000,
    stopWithinMs: 8_000,
  };
}

/** The control process; tests start further ones with the same command and environment. */
export function control(settings: Settings): PartSpec {
  const { ports, secrets } = settings;
  const at = coordinatesOf(settings);
  let version = '';
  return {
    name: 'control',
    title: 'Control plane',
    command: [...NODE, path.join(REPOSITORY, 'control/main.ts')],
    env: {
      MINIVOICE_PROFILE: 'development',
      ...settings.environment,
      HTTP_HOST: '127.0.0.1',
      HTTP_PORT: String(ports.api),
      ADMIN_TOKEN: at.admin_token,
      SECRET_KEY: secrets.secretKey,
      DATABASE_URL: at.database_url,
      REDIS_URL: at.redis_url,
      EDGE_HOST: '127.0.0.1',
      EDGE_PORT: String(ports.edge),
      EDGE_TOKEN: at.edge_token,
      KAMAILIO_RPC_URLS: at.rpc,
      KAMAILIO_SIP: at.sip,
      FREESWITCH_NODES: at.media_nodes.join(','),
      FREESWITCH_ESL_PASSWORD: at.esl.password,
      MEDIA_FILES_DIR: at.media_files_dir,
      RTPENGINE_NG: at.rtpengine_ng,
      STREAM_RTP_HOST: '127.0.0.1',
      STREAM_RTP_PORTS: `${ports.streams.first}-${ports.streams.last}`,
    },
    async prepare() {
      await makeFolders(homeAt(settings.home));
      version = await ownVersion();
    },
    probe: () => probeControl(at.api, version),
    // A million numbers take Kamailio longer than a minute.
    progress: /\d+ of \d+ pieces/,
    readyWithinMs: 60_000,
    stopWithinMs: 15_000,
  };
}
