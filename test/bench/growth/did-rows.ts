import type { Database } from '../../../control/lib/database.ts';
import type { Owner } from './call-rows.ts';

const AT_ONCE = 10_000;
const FIRST = 493_000_000_000;

export type Mode = 'webhook' | 'sip' | 'reject';
export interface Number {
  id: string;
  number: string;
  mode: Mode;
}

/**
 * Of twenty numbers fourteen are webhook, three sip, three reject; every other twenty are the second
 * customer's.
 */
export const BLOCK = 40;

/** @returns the `i`th number of a benchmark */
export function numberAt(i: number): Number {
  const id = `did_20260101T${String(Math.floor(i / 1_000_000) % 100).padStart(2, '0')}0000.${String(i % 1_000_000).padStart(6, '0')}000`;
  const mode = i % 20 < 14 ? 'webhook' : i % 20 < 17 ? 'sip' : 'reject';
  return { id, number: `+${FIRST + i}`, mode };
}

/** Takes the place of all numbers there are. */
export async function insertNumbers(
  db: Database,
  owners: readonly [Owner, Owner],
  total: number,
): Promise<void> {
  await db('dids').truncate();
  const now = new Date(Date.now() - 3_600_000);
  for (let done = 0; done < total; done += AT_ONCE) {
    const rows = Array.from({ length: Math.min(AT_ONCE, total - done) }, (_, i) => {
      const { id, number, mode } = numberAt(done + i);
      const owner = owners[(done + i) % BLOCK < BLOCK / 2 ? 0 : 1];
      const target =
        mode === 'sip'
          ? { sip_uri: `sip:${number.slice(1)}@pbx.example.com` }
          : mode === 'reject'
            ? { sip_code: 480 }
            : undefined;
      return [
        id,
        owner.customer,
        owner.application,
        number,
        'bench',
        'active',
        mode,
        target ? JSON.stringify(target) : null,
        now,
        now,
      ];
    });
    await db.raw(
      `INSERT INTO dids (id, customer_id, application_id, number_e164, provider, status, route_mode, route_target, created_at, updated_at) VALUES ${rows.map(() => '(?,?,?,?,?,?,?,?,?,?)').join(',')}`,
      rows.flat(),
    );
  }
}
