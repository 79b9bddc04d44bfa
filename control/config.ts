import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { meantBy } from './lib/spelling.ts';

const port = z.coerce.number().int().min(1).max(65535);
const list = z.string().transform((s) =>
  s
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

/**
 * One media node: where its event socket and its SIP are, and the name that Kamailio knows it by, which is
 * the latter.
 */
const node = z
  .string()
  .regex(/^[^:]+:\d+:([^:]+:)?\d+$/, 'must be host:esl-port:sip-port or esl-host:esl-port:sip-host:sip-port')
  .transform((s) => {
    const [host = '', esl, ...sip] = s.split(':');
    return { name: [...(sip.length === 1 ? [host] : []), ...sip].join(':'), host, eslPort: Number(esl) };
  });

const network = z
  .string()
  .refine((text) => ipaddr.isValid(text) || ipaddr.isValidCIDR(text), 'must be an address or a network');

/**
 * The environment of the control plane. The table in docs/operators/environment.md is checked against this
 * schema.
 */
export const environment = z
  .object({
    MINIVOICE_PROFILE: z
      .enum(['production', 'development'])
      .default('production')
      .describe('`development` lets customer URLs reach loopback addresses, and nothing else'),
    LOG_LEVEL: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'])
      .default('info')
      .describe('pino log level'),
    INSTANCE_ID: z.coerce
      .number()
      .int()
      .min(0)
      .max(9)
      .default(0)
      .describe('this control process among its siblings, 0 to 9; part of every id'),
    HTTP_HOST: z.string().default('127.0.0.1').describe('address of the REST API'),
    HTTP_PORT: port.default(8080).describe('port of the REST API'),
    PUBLIC_URL: z.url().optional().describe('the address customers reach the API at, where it differs'),
    TRUSTED_PROXIES: list
      .pipe(z.array(network))
      .prefault('127.0.0.1,::1')
      .describe(
        'proxies before the API whose `X-Forwarded-For` names the client: addresses and networks, comma-separated',
      ),
    API_REQUESTS_PER_KEY: z.coerce
      .number()
      .int()
      .min(0)
      .default(100)
      .describe(
        'requests a second with the key of one application, for each control process; ten times as many may come at once; 0: no limit',
      ),
    API_REQUESTS_PER_ADDRESS: z.coerce
      .number()
      .int()
      .min(0)
      .default(300)
      .describe('the same from one address, or one IPv6 network of 64 bits'),
    ADMIN_TOKEN: z.string().min(16).describe('the operator token for `/admin/v1`, 16 characters at least'),
    SECRET_KEY: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .describe('32 bytes in hex; encrypts trunk passwords and webhook secrets at rest (AES-256-GCM)'),
    DATABASE_URL: z.string().startsWith('mysql://').describe('MySQL 8 or MariaDB 10.6 and later'),
    REDIS_URL: z.string().startsWith('redis').describe('Redis 6 and later; holds what can be rebuilt'),
    EDGE_HOST: z
      .string()
      .default('127.0.0.1')
      .describe('address Kamailio asks for decisions, and `/metrics` is at: for the inside alone'),
    EDGE_PORT: port.default(8081).describe('port Kamailio asks for decisions, and `/metrics` is at'),
    EDGE_TOKEN: z
      .string()
      .min(16)
      .describe(
        'shared by Kamailio and the control plane, 16 characters at least; a decision request without it is refused',
      ),
    KAMAILIO_SIP: z
      .string()
      .regex(/^[^:\s]+:\d+$/, 'must be host:port')
      .default('127.0.0.1:5060')
      .describe('where media nodes send second legs to: the SIP address of Kamailio'),
    KAMAILIO_RPC_URLS: list
      .pipe(z.array(z.url()).min(1))
      .describe('JSON-RPC address of every Kamailio, comma-separated'),
    FREESWITCH_NODES: list
      .pipe(z.array(node).min(1))
      .describe(
        'media nodes as `host:esl-port:sip-port`, comma-separated; `esl-host:esl-port:sip-host:sip-port` where the two addresses differ. The SIP address is the one in `MEDIA_NODES` of Kamailio',
      ),
    FREESWITCH_ESL_PASSWORD: z
      .string()
      .min(8)
      .describe('password of the event socket of every media node, 8 characters at least'),
    RTPENGINE_NG: z
      .string()
      .regex(/^[^:,\s]+:\d+(,[^:,\s]+:\d+)*$/, 'must be host:port, comma-separated')
      .default('127.0.0.1:2223')
      .describe(
        'where rtpengine listens for commands, of every one, comma-separated; for media streams, and to watch the audio of calls',
      ),
    STREAM_RTP_HOST: z
      .ipv4()
      .default('127.0.0.1')
      .describe('our address that rtpengine sends the audio of media streams to'),
    STREAM_RTP_PORTS: z
      .string()
      .regex(/^[1-9]\d{3,4}-[1-9]\d{3,4}$/, 'must be first-last')
      .default('41000-41999')
      .describe('UDP ports for that audio, `first-last`: every other one of them is a call'),
    MEDIA_FILES_DIR: z
      .string()
      .startsWith('/')
      .describe('folder shared with the media nodes, under the same path: prompts are written here'),
    RECORDING_STORAGE: z
      .enum(['local', 's3'])
      .default('local')
      .describe('where new recordings are kept: `local` is a folder, `s3` any S3-compatible service'),
    RECORDINGS_DIR: z
      .string()
      .startsWith('/')
      .optional()
      .describe('folder of the `local` storage; `kept-recordings` in `MEDIA_FILES_DIR` when not set'),
    S3_ENDPOINT: z
      .url()
      .optional()
      .describe("address of the S3 service without the bucket; Amazon's own when not set"),
    S3_REGION: z
      .string()
      .default('us-east-1')
      .describe('region that requests to the S3 service are signed for'),
    S3_BUCKET: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)
      .optional()
      .describe(
        'bucket for recordings; with it and its keys set, recordings kept there can be fetched whatever `RECORDING_STORAGE` is',
      ),
    S3_ACCESS_KEY_ID: z.string().min(1).optional().describe('who we are to the S3 service'),
    S3_SECRET_ACCESS_KEY: z
      .string()
      .min(1)
      .optional()
      .describe('the key that requests to the S3 service are signed with'),
    S3_PATH_STYLE: z
      .enum(['true', 'false'])
      .default('true')
      .describe('`true`: the bucket is in the path of the address; `false`: it is a part of the host name'),
    HOLD_SECONDS: z.coerce
      .number()
      .int()
      .min(2)
      .max(3600)
      .default(60)
      .describe('how many seconds of a call are held from the balance at a time'),
    WEBHOOK_RETENTION_DAYS: z.coerce
      .number()
      .min(1)
      .max(3650)
      .default(30)
      .describe(
        'days for which events and what became of their webhooks are kept; those still to be delivered stay',
      ),
    CALL_RETENTION_DAYS: z.coerce
      .number()
      .min(0)
      .max(3650)
      .default(400)
      .describe(
        'days for which calls and their timelines are kept, 0 for ever; a call stays as long as it has a recording, and the ledger always',
      ),
    SPEECH_COMMAND: z.string().default('espeak-ng').describe('the espeak-ng binary'),
    SPEECH_CACHE_MB: z.coerce
      .number()
      .int()
      .min(1)
      .default(512)
      .describe('prompts kept on disk; the least recently used go first'),
  })
  .superRefine((config, context) => {
    if (config.RECORDING_STORAGE !== 's3') return;
    for (const name of ['S3_BUCKET', 'S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'] as const) {
      if (config[name] === undefined)
        context.addIssue({ code: 'custom', path: [name], message: 'is needed for RECORDING_STORAGE=s3' });
    }
  });

export type Config = z.infer<typeof environment>;

/** @throws Error naming every variable that is missing or wrong. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const result = environment.safeParse(env);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`The configuration is not valid:\n  ${lines.join('\n  ')}`);
}

/** Variables that are set, not read by anything, and named almost like one of the control plane's own. */
export function misspelt(env: NodeJS.ProcessEnv): { name: string; meant: string }[] {
  const known = Object.keys(environment.shape);
  return Object.keys(env).flatMap((name) => {
    const meant = known.includes(name) ? undefined : meantBy(name, known);
    return meant === undefined ? [] : [{ name, meant }];
  });
}

/** The addresses of a list of `host:port`. */
export const addressesOf = (text: string): { host: string; port: number }[] =>
  text.split(',').map((one) => {
    const [host = '', number] = one.split(':');
    return { host, port: Number(number) };
  });

/** The ends of `first-last`. */
export function portsOf(text: string): { first: number; last: number } {
  const [first = 0, last = 0] = text.split('-').map(Number);
  return { first, last };
}
