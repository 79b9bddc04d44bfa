import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Watched } from '../../../cli/phone/wait.ts';

/** The headers of a channel as FreeSWITCH tells them, for the tests that need one. */
export const channelHeaders = (uuid: string, more: Record<string, string> = {}): Record<string, string> => ({
  'Unique-ID': uuid,
  'Answer-State': 'ringing',
  'Channel-State': 'CS_EXECUTE',
  variable_sip_call_id: `${uuid}@carrier`,
  variable_sip_from_tag: 'from',
  variable_sip_to_tag: 'to',
  'variable_sip_h_X-MV-Call-ID': `call_${uuid}`,
  variable_current_application: 'park',
  ...more,
});

/** One connection of a client's to the fake node. */
export class FakeSession {
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  reply(text: string, more = ''): void {
    this.socket.write(`Content-Type: command/reply\nReply-Text: ${text}\n${more}\n`);
  }

  api(body: string): void {
    this.socket.write(`Content-Type: api/response\nContent-Length: ${Buffer.byteLength(body)}\n\n${body}`);
  }

  event(name: string, headers: Record<string, string> = {}, body?: string): void {
    const json = JSON.stringify({
      'Event-Name': name,
      ...headers,
      ...(body !== undefined && { _body: body }),
    });
    this.socket.write(`Content-Length: ${Buffer.byteLength(json)}\nContent-Type: text/event-json\n\n${json}`);
  }
}

/**
 * A node whose answers the test decides: it behaves as an event socket with the channels in `channels`, and a
 * handler for the beginning of a command takes that command out of its hands.
 */
export class FakeEsl extends Watched {
  readonly port: number;
  /** Every command in order, on whatever connection, without its end. */
  readonly commands: string[] = [];
  readonly sessions: FakeSession[] = [];
  /** What `show channels` lists and `uuid_dump` tells. */
  readonly channels = new Map<string, Record<string, string>>();
  readonly handlers = new Map<string, (session: FakeSession, command: string) => void>();
  password = 'secret';
  #server: Server;

  private constructor(server: Server) {
    super();
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async start(port = 0): Promise<FakeEsl> {
    const server = createServer({ noDelay: true });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new FakeEsl(server);
  }

  get session(): FakeSession {
    const last = this.sessions.at(-1);
    if (!last) throw new Error('nobody is connected');
    return last;
  }

  /** Resolves with the nth command that begins like this. */
  async command(begin: string, nth = 1): Promise<string> {
    return this.until(
      () => this.commands.filter((command) => command.startsWith(begin))[nth - 1],
      `command ${begin}, got ${this.commands.join(' | ')}`,
      3000,
    );
  }

  count(begin: string): number {
    return this.commands.filter((command) => command.startsWith(begin)).length;
  }

  drop(): void {
    for (const { socket } of this.sessions) socket.destroy();
  }

  async close(): Promise<void> {
    this.drop();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #accept(socket: Socket): void {
    const session = new FakeSession(socket);
    this.sessions.push(session);
    let text = '';
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += chunk.toString();
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const command = text.slice(0, end);
        text = text.slice(end + 2);
        this.commands.push(command);
        this.#answer(session, command);
        this.changed();
      }
    });
    const greeting = this.handlers.get('connect');
    if (greeting) greeting(session, '');
    else socket.write('Content-Type: auth/request\n\n');
    this.changed();
  }

  #answer(session: FakeSession, command: string): void {
    const taken = [...this.handlers].find(([begin]) => command.startsWith(begin));
    if (taken) return taken[1](session, command);
    if (command.startsWith('auth '))
      return session.reply(command === `auth ${this.password}` ? '+OK accepted' : '-ERR invalid');
    if (command.startsWith('api ')) return this.#api(session, command.slice(4));
    if (command.startsWith('bgapi ')) {
      const [, uuid] = /^bgapi uuid_answer (\S+)/.exec(command) ?? [];
      const job = /^Job-UUID: (\S+)$/m.exec(command)?.[1] ?? '';
      session.reply(`+OK Job-UUID: ${job}`, `Job-UUID: ${job}\n`);
      if (uuid) session.event('CHANNEL_ANSWER', { ...this.channels.get(uuid), 'Answer-State': 'answered' });
      return session.event('BACKGROUND_JOB', { 'Job-UUID': job }, '+OK\n');
    }
    session.reply('+OK');
  }

  #api(session: FakeSession, command: string): void {
    const [name, uuid = ''] = command.split(' ');
    if (name === 'version') return session.api('FreeSWITCH Version 1.10.12-release~64bit (64bit)\n');
    if (name === 'show') {
      const rows = [...this.channels.keys()].map((key) => ({ uuid: key }));
      return session.api(
        JSON.stringify(rows.length > 0 ? { row_count: rows.length, rows } : { row_count: 0 }),
      );
    }
    const channel = this.channels.get(uuid);
    if (name === 'uuid_exists') return session.api(String(channel !== undefined));
    if (name?.startsWith('uuid_') && !channel) return session.api('-ERR No such channel!\n');
    if (name === 'uuid_dump') return session.api(JSON.stringify(channel));
    session.api('+OK\n');
  }
}
