import { environment } from '../control/config.ts';
import { meantBy } from '../control/lib/spelling.ts';

/** What the command reads for people; help names each of them. */
export const FOR_PEOPLE = [
  'MINIVOICE_HOME',
  'MINIVOICE_PORT_BASE',
  'MINIVOICE_MEDIA',
  'MINIVOICE_MEDIA_NODES',
  'MINIVOICE_DB',
  'FREESWITCH_BIN',
];

/** What set-up, tests and examples read besides. */
const FOR_PROGRAMS = [
  'KAMAILIO_BIN',
  'KAMAILIO_MODULES',
  'RTPENGINE_BIN',
  'MINIVOICE_STATUS',
  'MINIVOICE_TEST_COUNT',
  'MINIVOICE_TEST_DATABASE_URL',
  'MINIVOICE_TEST_REDIS_URL',
  'MINIVOICE_TEST_RUNS',
  'MINIVOICE_API_KEY',
  'MINIVOICE_API_URL',
];

const KNOWN = [...FOR_PEOPLE, ...FOR_PROGRAMS, ...Object.keys(environment.shape)];

/**
 * A sentence for each variable that is set and that nothing reads: all others that begin with `MINIVOICE_`,
 * and those named almost like one that is known.
 */
export function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  return Object.keys(env).flatMap((name) => {
    if (KNOWN.includes(name)) return [];
    const meant = meantBy(name, KNOWN);
    if (meant === undefined && !name.startsWith('MINIVOICE_')) return [];
    return [
      `Nothing reads the environment variable ${name}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
    ];
  });
}
