import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** The version of MiniVoice, as package.json has it: the one place where it is written. */
export const VERSION = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))).version;
