import net from 'node:net';
import { PASSWORD } from './node-process.ts';

export type FsEvent = Record<string, string>;

interface Frame {
  headers: Record<string, string>;
  body: string;
  /** The header block as it was received. */
  raw: string;
}

/** A raw event socket client: it knows frames and nothing else. */
export class EslClient {
  readonly socket: net.Socket;
  readonly events: FsEvent[] = [];
  readonly frames: Frame[] = [];
  closed = false;
  #pending = Buffer.alloc(0);
  readonly #replies: ((frame: Frame) => void)[] = [];
  #watchers: (() => void)[] = [];

  static async connect(port: number, subscribe?: string): Promise<EslClient> {
    const client = new EslClient(net.connect(port, '127.0.0.1'));
    await client.until(
      () => client.frames.some((f) => f.headers['Content-Type'] === 'auth/request'),
      'auth/request',
    );
    if (subscribe !== undefined) {
      await client.command(`auth ${PASSWORD}`);
      if (subscribe) await client.command(`event json ${subscribe}`);
    }
    return client;
  }

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#changed();
    });
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #data(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const end = this.#pending.indexOf('\n\n');
      if (end < 0) break;
      const raw = this.#pending.toString('utf8', 0, end);
      const headers = Object.fromEntries(
        raw.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      const length = Number(headers['Content-Length'] ?? 0);
      if (this.#pending.length < end + 2 + length) break;
      const frame = { headers, raw, body: this.#pending.toString('utf8', end + 2, end + 2 + length) };
      this.#pending = this.#pending.subarray(end + 2 + length);
      this.frames.push(frame);
      const type = headers['Content-Type'];
      if (type === 'text/event-json') this.events.push(JSON.parse(frame.body) as FsEvent);
      if (type === 'command/reply' || type === 'api/response') this.#replies.shift()?.(frame);
    }
    this.#changed();
  }

  write(text: string): void {
    this.socket.write(text);
  }

  /** Sends a command and waits for its reply. */
  request(command: string): Promise<Frame> {
    return new Promise((resolve) => {
      this.#replies.push(resolve);
      this.socket.write(`${command}\n\n`);
    });
  }

  /** The reply text of a command that is not `api`. */
  async command(command: string): Promise<string> {
    return (await this.request(command)).headers['Reply-Text'] ?? '';
  }

  /** The output of an API command. */
  async api(command: string): Promise<string> {
    return (await this.request(`api ${command}`)).body;
  }

  execute(
    uuid: string,
    application: string,
    argument: string,
    eventUuid: string,
    lock: boolean = true,
  ): Promise<string> {
    return this.command(
      `sendmsg ${uuid}\ncall-command: execute\nexecute-app-name: ${application}\nexecute-app-arg: ${argument}\nevent-lock: ${lock}\nEvent-UUID: ${eventUuid}`,
    );
  }

  /** Waits for a condition on what came in. */
  until(condition: () => boolean, what: string, ms: number = 8_000): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const watcher = (): void => {
        if (!condition()) return;
        done();
        resolve();
      };
      const done = (): void => {
        clearTimeout(timer);
        this.#watchers = this.#watchers.filter((w) => w !== watcher);
      };
      const timer = setTimeout(() => {
        done();
        reject(
          new Error(
            `waited in vain for ${what}; events: ${this.events.map((e) => e['Event-Name']).join(' ')}`,
          ),
        );
      }, ms);
      this.#watchers.push(watcher);
    });
  }

  /** The first event of that name with these fields, waiting for it if need be. */
  async event(name: string, fields: Record<string, string> = {}): Promise<FsEvent> {
    const find = (): FsEvent | undefined =>
      this.events.find(
        (e) => e['Event-Name'] === name && Object.entries(fields).every(([k, v]) => e[k] === v),
      );
    await this.until(() => find() !== undefined, `${name} ${JSON.stringify(fields)}`);
    return find() ?? {};
  }

  close(): void {
    this.socket.destroy();
  }
}
