import { z } from 'zod';

/** An address that goes into SIP and SDP, so that others must be able to reach it. */
const address = z.ipv4().refine((ip) => ip !== '0.0.0.0', 'must be an address others can reach');
const port = z.coerce.number().int().min(1).max(65_535);

/** `10.0.0.0/8` or a plain address, several separated by commas or spaces. */
const networks = z.string().transform((text) => text.split(/[\s,]+/).filter(Boolean));

/** The environment of the embedded media node; the same names configure a real FreeSWITCH. */
const environment = z.object({
  FREESWITCH_SIP_IP: address.default('127.0.0.1'),
  /** Where audio is received; the address in SDP. */
  FREESWITCH_RTP_IP: address.optional(),
  FREESWITCH_SIP_PORT: port.default(5080),
  FREESWITCH_RTP_START: port.default(30_000),
  FREESWITCH_RTP_END: port.default(31_999),
  FREESWITCH_ESL_IP: z.ipv4().default('127.0.0.1'),
  FREESWITCH_ESL_PORT: port.default(8021),
  FREESWITCH_ESL_PASSWORD: z.string().min(1),
  FREESWITCH_ESL_ACL: networks.default(['127.0.0.0/8']),
  FREESWITCH_SIP_ACL: networks.default(['127.0.0.0/8']),
  FREESWITCH_MAX_SESSIONS: z.coerce.number().int().min(1).default(1000),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info'),
});

export interface NodeConfig {
  sip: { ip: string; port: number; allow: string[] };
  rtp: { ip: string; start: number; end: number };
  esl: { ip: string; port: number; password: string; allow: string[] };
  maxSessions: number;
  logLevel: string;
}

/** @throws Error naming every variable that is missing or wrong. */
export function readConfig(env: NodeJS.ProcessEnv): NodeConfig {
  // A variable that is set but empty is as good as absent: compose files produce such.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const result = environment.safeParse(given);
  if (!result.success) {
    const lines = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`The configuration is not valid:\n  ${lines.join('\n  ')}`);
  }
  const e = result.data;
  return {
    sip: { ip: e.FREESWITCH_SIP_IP, port: e.FREESWITCH_SIP_PORT, allow: e.FREESWITCH_SIP_ACL },
    rtp: {
      ip: e.FREESWITCH_RTP_IP ?? e.FREESWITCH_SIP_IP,
      start: e.FREESWITCH_RTP_START,
      end: e.FREESWITCH_RTP_END,
    },
    esl: {
      ip: e.FREESWITCH_ESL_IP,
      port: e.FREESWITCH_ESL_PORT,
      password: e.FREESWITCH_ESL_PASSWORD,
      allow: e.FREESWITCH_ESL_ACL,
    },
    maxSessions: e.FREESWITCH_MAX_SESSIONS,
    logLevel: e.LOG_LEVEL,
  };
}
