import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createConnection } from 'mysql2/promise';

/**
 * One question to each part that only a working one can answer. Each returns the part's version and throws
 * where the answer is not as it should be. Two seconds are plenty on loopback.
 */
const LIMIT_MS = 2000;

export async function probeDatabase(url: string): Promise<string> {
  const connection = await createConnection({ uri: url, connectTimeout: LIMIT_MS });
  try {
    const [rows] = await connection.query({ sql: 'SELECT VERSION() AS version', timeout: LIMIT_MS });
    const version = Array.isArray(rows) && rows[0] && 'version' in rows[0] ? String(rows[0].version) : '';
    return version.replace(/-.*/, '');
  } finally {
    await connection.end().catch(() => connection.destroy());
  }
}

/** Talks over TCP until `enough` finds what it looks for in all that was received. */
function converse(
  port: number,
  first: string,
  enough: (received: string, say: (text: string) => void) => string | undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: LIMIT_MS });
    let received = '';
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.on('connect', () => first && socket.write(first));
    socket.on('data', (data) => {
      received += data.toString();
      try {
        const found = enough(received, (text) => socket.write(text));
        if (found === undefined) return;
        socket.destroy();
        resolve(found);
      } catch (error) {
        fail(error as Error);
      }
    });
    socket.on('timeout', () => fail(new Error('no answer')));
    socket.on('error', fail);
    socket.on('close', () => reject(new Error('the connection was closed')));
  });
}

export function probeRedis(port: number, password: string): Promise<string> {
  return converse(port, `AUTH ${password}\r\nINFO server\r\n`, (received) => {
    if (/^-/m.test(received)) throw new Error(received.trim());
    return /redis_version:(\S+)/.exec(received)?.[1];
  });
}

/** `ping` of rtpengine's ng protocol (docs/ng_control_protocol.md of rtpengine). */
export function probeRtpengine(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    // Asked again while it starts: what comes before it listens is lost.
    const ask = (): void => socket.send(`${process.pid} d7:command4:pinge`, port, '127.0.0.1');
    const asking = setInterval(ask, 100);
    let ended = false;
    const end = (error?: Error): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      clearInterval(asking);
      socket.close();
      if (error) reject(error);
      else resolve('');
    };
    const timer = setTimeout(() => end(new Error('no answer')), LIMIT_MS);
    socket.on('error', end);
    socket.on('message', (message) =>
      end(message.toString().includes('4:pong') ? undefined : new Error('not a pong')),
    );
    ask();
  });
}

/** Logs in to a media node's event socket and asks its version. */
export function probeMedia(port: number, password: string, host = '127.0.0.1'): Promise<string> {
  if (host !== '127.0.0.1' && host !== 'localhost') return Promise.resolve('');
  let asked = false;
  return converse(port, '', (received, say) => {
    if (!asked && received.includes('Content-Type: auth/request')) {
      asked = true;
      say(`auth ${password}\n\napi version\n\n`);
    }
    if (/-ERR invalid|rude-rejection/.test(received))
      throw new Error('the password or the address was refused');
    const version = /Content-Type: api\/response\n(?:.*\n)*?\n(.+)/.exec(received)?.[1];
    return version && (/Version (\d[\w.]*)/i.exec(version)?.[1] ?? version.trim());
  });
}

export async function probeKamailio(rpcUrl: string): Promise<string> {
  const body = JSON.stringify({ jsonrpc: '2.0', method: 'core.version', id: 1 });
  const response = await fetch(rpcUrl, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const text = await response.text();
  return (
    /kamailio \(?(\d+\.\d+\.\d+)/.exec(text)?.[1] ??
    Promise.reject(new Error(`unexpected reply: ${text.slice(0, 200)}`))
  );
}

/** /readyz says in its body what is missing. */
export async function probeControl(api: string, version: string): Promise<string> {
  const response = await fetch(`${api}/readyz`, { signal: AbortSignal.timeout(LIMIT_MS) });
  if (response.status !== 200) throw new Error(`not ready: ${(await response.text()).slice(0, 500)}`);
  await response.arrayBuffer();
  return version;
}
