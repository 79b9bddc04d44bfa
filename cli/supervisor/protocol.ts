import { connect } from 'node:net';
import type { Coordinates } from '../settings.ts';
import type { ComponentStatus } from './component.ts';

/** One line of JSON each way over the UNIX socket in the instance's home. */
export type Request = { do: 'status' } | { do: 'down' } | { do: 'stop' | 'start'; part: string };

export type SupervisorState = 'starting' | 'up' | 'failed' | 'stopping';

export interface Status {
  state: SupervisorState;
  pid: number;
  coordinates: Coordinates;
  components: ComponentStatus[];
  /** Why it failed: one sentence, and what the part said last. */
  failure?: { sentence: string; log?: string };
}

export type Reply = { ok: true; status: Status } | { ok: false; error: string };

/** Asks a supervisor. @throws Error where none listens, or it does not answer in time. */
export function ask(socketFile: string, request: Request, timeoutMs = 5000): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketFile);
    let received = '';
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('the supervisor does not answer')));
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.setEncoding('utf8').on('data', (text: string) => (received += text));
    socket.on('error', reject);
    socket.on('close', () => {
      try {
        resolve(JSON.parse(received) as Reply);
      } catch {
        reject(new Error('the supervisor closed the connection'));
      }
    });
  });
}
