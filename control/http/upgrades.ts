import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Serves a request as if it had offered no upgrade, as any server may (RFC 9110 §7.8): Java's HTTP client
 * offers HTTP/2 (`h2c`) with whatever it sends. By the time node says that an upgrade is offered, its parser
 * has let go of the connection and would lose the body, so the request is put back on it without the offer
 * and read once more.
 * @param head what came behind the headers
 */
export function declineUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const { rawHeaders } = request;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    const value = /^connection$/i.test(name) ? keptOptions(rawHeaders[i + 1] ?? '') : rawHeaders[i + 1];
    if (!/^(upgrade|http2-settings)$/i.test(name) && value !== '') lines.push(`${name}: ${value}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}

const keptOptions = (connection: string): string =>
  connection
    .split(',')
    .map((option) => option.trim())
    .filter((option) => !/^(upgrade|http2-settings)$/i.test(option))
    .join(', ');
