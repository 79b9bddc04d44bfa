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

export const isAlive = async (ref: ProcessRef): Promise<boolean> => (await startTimeOf(ref.pid)) === ref.startTime;

/** Signals a process and, as it leads one, its group. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal);
    } catch {
      // Gone already.
    }
  }
}

const groupExists = (pid: number): boolean => {
  try {
    process.kill(-pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Ends a process and its group: SIGTERM, and SIGKILL to what is left after `graceMs`. */
export async function endProcess(ref: ProcessRef, graceMs: number): Promise<void> {
  if (!(await isAlive(ref))) return;
  signalGroup(ref.pid, 'SIGTERM');
  const until = Date.now() + graceMs;
  while (Date.now() < until && (await isAlive(ref))) await sleep(20);
  if (groupExists(ref.pid)) signalGroup(ref.pid, 'SIGKILL');
  while (await isAlive(ref)) await sleep(10);
}
