import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process as it can be recognised later: a pid alone may belong to somebody else by then. */
export interface ProcessRef {
  pid: number;
  /** In clock ticks since boot, field 22 of /proc/<pid>/stat (proc(5)). */
  startTime: string;
}

/** @returns undefined for a process that is gone, a zombie included. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The command in brackets may hold spaces and brackets itself.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}

export async function refOf(pid: number): Promise<ProcessRef | undefined> {
  const startTime = await startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

export const isAlive = async (ref: ProcessRef): Promise<boolean> =>
  (await startTimeOf(ref.pid)) === ref.startTime;

function signal(target: number, name: NodeJS.Signals): void {
  try {
    process.kill(target, name);
  } catch {
    // Gone already.
  }
}

/** Asks a process to end, and it alone: some take a second SIGTERM for a demand to end at once. */
export const askToEnd = (pid: number): void => signal(pid, 'SIGTERM');

/** Ends a whole process group, the workers whose first process is gone included. */
export const killGroup = (pid: number): void => signal(-pid, 'SIGKILL');

/** Ends a process that leads a group, and the group: SIGTERM, and after `graceMs` SIGKILL. */
export async function endProcess(ref: ProcessRef, graceMs: number): Promise<void> {
  if (!(await isAlive(ref))) return;
  askToEnd(ref.pid);
  const until = Date.now() + graceMs;
  while (Date.now() < until && (await isAlive(ref))) await sleep(20);
  killGroup(ref.pid);
  while (await isAlive(ref)) await sleep(10);
}
