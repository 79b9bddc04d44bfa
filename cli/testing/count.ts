import { writeFileSync } from 'node:fs';
import type { Runner } from 'mocha';

const PATIENCE_MS = 5000;

// Without this there are no `exit` events, by which tests end the programs they have started.
for (const [signal, code] of [['SIGTERM', 143], ['SIGHUP', 129]] as const) process.once(signal, () => process.exit(code));

/** Required by mocha beside the tests: leaves the numbers of the run where `minivoice test` sums them up. Mocha passes the runner as `this`. */
export function mochaGlobalTeardown(this: Runner): void {
  const file = process.env['MINIVOICE_TEST_COUNT'];
  const { passes = 0, failures = 0, pending = 0 } = this.stats ?? {};
  if (file) writeFileSync(file, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
  // A test that leaves something open must not hold up the suites behind it. Mocha sets the exit code itself on the way out.
  setTimeout(() => {
    console.error(`The tests are done, but they left something open: ${process.getActiveResourcesInfo().join(', ')}.`);
    process.exit();
  }, PATIENCE_MS).unref();
}
