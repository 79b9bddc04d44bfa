import { spawn, type SpawnOptions } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import path from 'node:path';

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a command to its end, without standard input. Never throws for a command that fails or is missing
 * (code 127).
 */
export function run(command: string, args: string[], options: SpawnOptions = {}): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: stderr + error.message }));
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

/**
 * The full path of a program, or of a path that is given as one. The sbin folders are searched too: an
 * ordinary user's PATH on Debian lacks them.
 */
export async function which(name: string): Promise<string | undefined> {
  if (name.includes('/'))
    return access(name, constants.X_OK).then(
      () => path.resolve(name),
      () => undefined,
    );
  const folders = [
    ...(process.env['PATH'] ?? '').split(':').filter(Boolean),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
  ];
  for (const folder of folders) {
    const file = path.join(folder, name);
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return file;
  }
  return undefined;
}

/** The last `count` lines that say something. */
export const lastLines = (text: string, count: number): string =>
  text
    .split('\n')
    .filter((one) => one.trim() !== '')
    .slice(-count)
    .join('\n');
