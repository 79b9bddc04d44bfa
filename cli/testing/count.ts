import { writeFileSync } from 'node:fs';
import type { Runner } from 'mocha';

/** Required by mocha beside the tests: leaves the numbers of the run where `minivoice test` sums them up. Mocha passes the runner as `this`. */
export function mochaGlobalTeardown(this: Runner): void {
  const file = process.env['MINIVOICE_TEST_COUNT'];
  const { passes = 0, failures = 0, pending = 0 } = this.stats ?? {};
  if (file) writeFileSync(file, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
}
