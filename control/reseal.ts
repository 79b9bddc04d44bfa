import { z } from 'zod';
import { environment } from './config.ts';
import { connectDatabase } from './lib/database.ts';
import { reseal } from './lib/reseal.ts';
import { createSecrets } from './lib/secrets.ts';

/**
 * A program of its own: changes SECRET_KEY, while no control process runs. See
 * docs/operators/rotate-secrets.md.
 */
const { SECRET_KEY, DATABASE_URL } = environment.shape;
const read = z.object({ OLD_SECRET_KEY: SECRET_KEY, SECRET_KEY, DATABASE_URL }).safeParse(process.env);
if (!read.success) {
  for (const { path, message } of read.error.issues) console.error(`${path.join('.')}: ${message}`);
  process.exit(1);
}
const { data: config } = read;
const db = connectDatabase(config.DATABASE_URL);
try {
  const counts = await reseal(db, createSecrets(config.OLD_SECRET_KEY), createSecrets(config.SECRET_KEY));
  const told = Object.entries(counts).map(([table, count]) => `${count} of ${table}`);
  console.log(`Encrypted anew: ${told.join(', ')}.`);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  console.error('Nothing was changed.');
  process.exitCode = 1;
} finally {
  await db.destroy();
}
