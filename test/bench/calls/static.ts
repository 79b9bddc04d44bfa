import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EslConnection } from '../../../control/media/esl/connection.ts';
import { Program } from '../edge/processes.ts';
import { freePort, pingSip, required } from '../edge/subjects.ts';

const REPOSITORY = path.resolve(import.meta.dirname, '../../..');
const PASSWORD = 'password-of-the-benchmark';

/**
 * Kamailio and a media node that answer every call, play the prompt and hang up, with nobody deciding
 * anything.
 */
export interface Static {
  port: number;
  kamailio: Program;
  node: Program;
  stop: () => Promise<void>;
}

/**
 * A FreeSWITCH has a static dialplan. The embedded node's cannot be changed: the same applications are put
 * into the queue of each call as soon as it is parked, by this process, whose own CPU is not counted.
 */
export async function startStatic(
  kind: string,
  options: { rtpengine: string; prompt: string },
): Promise<Static> {
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-static-'));
  const [port, nodePort, esl] = [await freePort(), await freePort(), await freePort()];
  const programs: Program[] = [];
  let answering: EslConnection | undefined;
  const stop = async (): Promise<void> => {
    answering?.close();
    for (const program of programs.reverse()) await program.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const env = {
      FREESWITCH_SIP_IP: '127.0.0.1',
      FREESWITCH_SIP_PORT: String(nodePort),
      FREESWITCH_SIP_ACL: '127.0.0.0/8',
      FREESWITCH_RTP_START: '27000',
      FREESWITCH_RTP_END: '28998',
      FREESWITCH_ESL_IP: '127.0.0.1',
      FREESWITCH_ESL_PORT: String(esl),
      FREESWITCH_ESL_ACL: '127.0.0.0/8',
      FREESWITCH_ESL_PASSWORD: PASSWORD,
      LOG_LEVEL: 'warn',
    };
    const command =
      kind === 'embedded'
        ? [process.execPath, '--import', 'tsx', path.join(REPOSITORY, 'freeswitch/embedded/main.ts')]
        : await freeswitch(folder, options.prompt);
    const node = await Program.start('media node', command, env, async () => {
      await reach(esl);
      await pingSip(nodePort);
    });
    programs.push(node);
    if (kind === 'embedded') answering = await answer(esl, options.prompt);
    const kamailio = await Program.start(
      'Kamailio',
      [
        required('KAMAILIO_BIN'),
        '-DD',
        '-E',
        '-f',
        path.join(import.meta.dirname, 'static.cfg'),
        '-Y',
        folder,
        '-x',
        'fm',
        '-X',
        'fm',
        '-m',
        '256',
        '-M',
        '8',
        '-L',
        required('KAMAILIO_MODULES'),
      ],
      {
        STATIC_LISTEN: `udp:127.0.0.1:${port}`,
        STATIC_NODE: `127.0.0.1:${nodePort}`,
        RTPENGINE_SOCK: `udp:${options.rtpengine}`,
        KAMAILIO_WORKERS: '2',
      },
      () => pingSip(port),
    );
    programs.push(kamailio);
    return { port, kamailio, node, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Our configuration with another dialplan. */
async function freeswitch(folder: string, prompt: string): Promise<string[]> {
  const at = (name: string): string => path.join(folder, name);
  await cp(path.join(REPOSITORY, 'freeswitch/conf'), at('conf'), { recursive: true });
  const dialplan = await readFile(path.join(import.meta.dirname, 'static-dialplan.xml'), 'utf8');
  await writeFile(at('conf/dialplan/minivoice.xml'), dialplan.replace('PROMPT', prompt));
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
  for (const name of folders) await mkdir(at(name));
  return [
    required('FREESWITCH_BIN'),
    '-nf',
    '-nc',
    '-nonat',
    '-conf',
    at('conf'),
    ...folders.flatMap((name) => [`-${name}`, at(name)]),
  ];
}

function answer(port: number, prompt: string): Promise<EslConnection> {
  const opened: { connection?: EslConnection } = {};
  const opening = EslConnection.open({
    host: '127.0.0.1',
    port,
    password: PASSWORD,
    events: ['CHANNEL_PARK'],
    maxPending: 100_000,
    openMs: 5000,
    commandMs: 10_000,
    keepAliveMs: 60_000,
    onClose: () => undefined,
    onEvent: ({ headers }) => {
      const uuid = headers['Unique-ID'] ?? '';
      for (const [name, argument] of [
        ['answer', ''],
        ['playback', prompt],
        ['hangup', 'NORMAL_CLEARING'],
      ] as const) {
        opened.connection
          ?.sendmsg(uuid, {
            'call-command': 'execute',
            'execute-app-name': name,
            'execute-app-arg': argument,
            'event-lock': 'true',
            'Event-UUID': randomUUID(),
          })
          .catch(() => undefined);
      }
    },
  });
  return opening.then((connection) => (opened.connection = connection));
}

function reach(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve();
    }).once('error', reject);
  });
}
