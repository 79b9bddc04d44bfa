import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from '../exec.ts';
import { REPOSITORY } from '../home.ts';
import { aloud, step, type Say } from '../steps.ts';

export interface Count {
  passed: number;
  failed: number;
  skipped: number;
  /** A line for each test that failed, or passed only when it was tried again. */
  problems?: string[];
}

export const NONE: Count = { passed: 0, failed: 0, skipped: 0 };

export const sum = (counts: Count[]): Count =>
  counts.reduce(
    (a, b) => ({
      passed: a.passed + b.passed,
      failed: a.failed + b.failed,
      skipped: a.skipped + b.skipped,
      problems: [...(a.problems ?? []), ...(b.problems ?? [])],
    }),
    NONE,
  );

/** The closing line, alone on its line, that people and CI read. */
export const closingLine = ({ passed, failed, skipped }: Count): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

/** A suite that hangs is ended, and has failed. */
const LIMIT_MS = 40 * 60_000;

const module = (name: string): string => path.join(REPOSITORY, 'node_modules', name);

/**
 * The type checker and the linter; each counts as one test.
 * @param say where what they say goes, instead of this terminal
 */
export async function runChecks(say?: Say): Promise<Count> {
  const check = async (title: string, args: string[]): Promise<Count> => {
    let output = '';
    const passed = await step(
      title,
      async () => {
        const result = await run(process.execPath, args, { cwd: REPOSITORY });
        output = result.stdout + result.stderr;
        if (result.code !== 0) throw new Error(title);
      },
      { long: true, say },
    ).then(
      () => true,
      () => false,
    );
    if (!passed) (say ?? aloud)(`${output}\n`);
    return {
      passed: passed ? 1 : 0,
      failed: passed ? 0 : 1,
      skipped: 0,
      problems: passed ? [] : [`Failed: ${title}`],
    };
  };
  return sum([
    await check('Types (tsc)', [module('typescript/bin/tsc'), '-p', '.']),
    await check('Rules (eslint)', [module('eslint/bin/eslint.js'), '.']),
    await check('Layout (prettier)', [
      module('prettier/bin/prettier.cjs'),
      '--check',
      '--log-level',
      'warn',
      '.',
    ]),
  ]);
}

/**
 * Runs mocha on folders of `test/`, such as `unit` or `integration/billing`.
 * @param say where what it says goes, instead of this terminal
 */
export async function runSuite(
  suites: readonly string[],
  env: Record<string, string>,
  args: string[],
  say?: Say,
): Promise<Count> {
  for (const suite of suites) {
    const files = await readdir(path.join(REPOSITORY, 'test', suite), { recursive: true }).catch(() => []);
    if (files.some((name) => name.endsWith('.test.ts'))) continue;
    (say ?? aloud)(`There are no ${suite} tests.\n`);
    return NONE;
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'minivoice-count-'));
  const report = path.join(folder, 'count.json');
  try {
    const colors = say && process.stdout.isTTY ? ['--color'] : [];
    const code = await foreground(
      [
        module('mocha/bin/mocha.js'),
        '--require',
        './cli/testing/count.ts',
        ...colors,
        ...args,
        ...suites.map((suite) => `test/${suite}/**/*.test.ts`),
      ],
      {
        ...env,
        MINIVOICE_TEST_COUNT: report,
      },
      say,
    );
    const text = await readFile(report, 'utf8').catch(() => undefined);
    const count = text ? (JSON.parse(text) as Count) : NONE;
    // Mocha counts no test where a file could not even be loaded.
    return code !== 0 && count.failed === 0 ? { ...count, failed: 1 } : count;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** How long what a child left open may hold up its end, in ms. */
const CLOSE_MS = 2000;

/**
 * Node on this terminal, in a process group that ends with us: nothing that tests started in it is left.
 * @param say where what it says goes, instead of this terminal
 */
export function foreground(args: string[], env: Record<string, string>, say?: Say): Promise<number> {
  return new Promise((resolve) => {
    const out = say ? 'pipe' : 'inherit';
    const child = spawn(process.execPath, args, {
      cwd: REPOSITORY,
      env: { ...process.env, ...env },
      stdio: ['ignore', out, out],
      detached: true,
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => say?.(text));
    const toGroup = (signal: NodeJS.Signals): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, signal);
      } catch {
        // Gone already.
      }
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.on(signal, toGroup);
    const late = setTimeout(() => {
      (say ?? aloud)(`It did not end within ${LIMIT_MS / 60_000} minutes.\n`);
      toGroup('SIGKILL');
    }, LIMIT_MS);
    let code: number | null = null;
    const done = (): void => {
      for (const signal of signals) process.off(signal, toGroup);
      resolve(code ?? 1);
    };
    child.on('exit', (its) => {
      code = its;
      clearTimeout(late);
      toGroup('SIGKILL');
      // Its last words come before `close`, unless somebody outside the group has its output.
      const patience = setTimeout(done, CLOSE_MS);
      child.on('close', () => {
        clearTimeout(patience);
        done();
      });
    });
  });
}
