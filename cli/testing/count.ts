import { writeFileSync } from 'node:fs';
import type { Runner, Test } from 'mocha';
import type { Count } from './suites.ts';

const PATIENCE_MS = 5000;

// Without this there are no `exit` events, by which tests end the programs they have started.
for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  process.once(signal, () => process.exit(code));

const failed = new Map<string, string>();
const triedAgain = new Map<string, string>();
const firstLine = (error: Error): string => String(error.message).split('\n', 1)[0] ?? '';

/**
 * Required by mocha beside the tests: notes by name which tests and hooks fail. Mocha passes the runner as
 * `this`.
 */
export function mochaGlobalSetup(this: Runner): void {
  const noteIn =
    (notes: Map<string, string>) =>
    (test: Pick<Test, 'fullTitle'>, error: Error): void =>
      void notes.set(test.fullTitle(), firstLine(error));
  this.on('fail', noteIn(failed));
  this.on('retry', noteIn(triedAgain));
  // Mocha prints the last try of a test that fails, and nothing of one that passes when it is tried again.
  this.on('retry', (test: Test, error: Error) =>
    console.error(`    The first try of "${test.title}" failed: ${error.stack ?? String(error)}`),
  );
}

/** Leaves the numbers of the run, and the names of what failed, where `minivoice test` sums them up. */
export function mochaGlobalTeardown(this: Runner): void {
  const file = process.env['MINIVOICE_TEST_COUNT'];
  const { passes = 0, failures = 0, pending = 0 } = this.stats ?? {};
  const problems = [
    ...[...failed].map(([title, error]) => {
      const first = triedAgain.get(title);
      triedAgain.delete(title);
      return `Failed: ${title}: ${error}${first === undefined ? '' : ` (the first try: ${first})`}`;
    }),
    ...[...triedAgain].map(
      ([title, error]) => `Passed only when it was tried again, which is a fault too: ${title}: ${error}`,
    ),
  ];
  const count: Count = { passed: passes, failed: failures, skipped: pending, problems };
  if (file) writeFileSync(file, JSON.stringify(count));
  // A test that leaves something open must not hold up the suites behind it. Mocha sets the exit code itself
  // on the way out.
  setTimeout(() => {
    console.error(
      `The tests are done, but they left something open: ${process.getActiveResourcesInfo().join(', ')}.`,
    );
    process.exit();
  }, PATIENCE_MS).unref();
}
