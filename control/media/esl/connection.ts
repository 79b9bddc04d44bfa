import { connect, type Socket } from 'node:net';
import { EslError } from './errors.ts';
import { readEvent, type EslEvent } from './events.ts';
import { FrameReader, type Frame } from './frames.ts';

export interface EslConnectionOptions {
  host: string;
  port: number;
  password: string;
  /** Names of the events to subscribe to. */
  events: readonly string[];
  /** Applications whose end nobody needs to hear of. */
  unheard?: readonly string[];
  onEvent: (event: EslEvent) => void;
  /** Called once, when an open connection has ended for whatever reason. */
  onClose: (reason: EslError) => void;
  /** TCP, password and subscription together, in ms. */
  openMs: number;
  /** A command without a reply for this long, in ms, means the connection is broken. */
  commandMs: number;
  /** When nothing has come for this long, in ms, the node is asked for a sign of life. */
  keepAliveMs: number;
  /** Commands that may wait for their reply at once. */
  maxPending: number;
}

interface Pending {
  resolve: (frame: Frame) => void;
  reject: (error: EslError) => void;
  timer: NodeJS.Timeout;
}

interface Job {
  resolve: (result: string) => void;
  reject: (error: EslError) => void;
  timer: NodeJS.Timeout;
}

/**
 * One inbound connection to the event socket of one node. FreeSWITCH answers commands in the order they came,
 * so replies are matched first in, first out. A connection that fails is finished: nothing is sent twice.
 */
export class EslConnection {
  readonly #options: EslConnectionOptions;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #pending: Pending[] = [];
  readonly #jobs = new Map<string, Job>();
  readonly #opening: { resolve: () => void; reject: (error: EslError) => void };
  #open = false;
  #closed: EslError | undefined;
  #notice: EslError | undefined;
  #heardAt = performance.now();
  #keepAlive: NodeJS.Timeout | undefined;

  private constructor(
    options: EslConnectionOptions,
    opening: { resolve: () => void; reject: (error: EslError) => void },
  ) {
    this.#options = options;
    this.#opening = opening;
    this.#socket = connect({ host: options.host, port: options.port, noDelay: true });
    this.#socket.on('data', (chunk) => this.#read(chunk));
    this.#socket.on('error', (error) => this.#fail(new EslError('lost', error.message)));
    this.#socket.on('close', () =>
      this.#fail(this.#notice ?? new EslError('lost', 'the node closed the connection')),
    );
  }

  /**
   * @throws EslError `denied` when the node refuses us by address or password, `lost` when it cannot be
   * reached.
   */
  static async open(options: EslConnectionOptions): Promise<EslConnection> {
    let timer: NodeJS.Timeout | undefined;
    const opened: { connection?: EslConnection } = {};
    try {
      await new Promise<void>((resolve, reject) => {
        const connection = new EslConnection(options, { resolve, reject });
        opened.connection = connection;
        timer = setTimeout(
          () => connection.#fail(new EslError('lost', `no login within ${options.openMs} ms`)),
          options.openMs,
        );
      });
    } finally {
      clearTimeout(timer);
    }
    if (!opened.connection) throw new EslError('lost', 'no connection');
    return opened.connection;
  }

  /** Commands waiting for a reply, background jobs included. */
  get pending(): number {
    return this.#pending.length + this.#jobs.size;
  }

  /** @throws EslError `refused` when the answer starts with -ERR or -USAGE. */
  async api(command: string): Promise<string> {
    const frame = await this.#send(`api ${oneLine(command)}`);
    if (frame.headers.get('content-type') !== 'api/response')
      throw new EslError('refused', frame.headers.get('reply-text') ?? 'no reply');
    return accepted(frame.body);
  }

  /**
   * Runs a command in a thread of the node's, so that it holds up no other; resolves with its result. The
   * job's id is ours, known before the node can report the job's end.
   */
  async bgapi(command: string, jobId: string, jobMs: number): Promise<string> {
    const done = new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#jobs.delete(jobId);
        reject(new EslError('lost', `no result of ${command.split(' ', 1)[0]} within ${jobMs} ms`));
      }, jobMs);
      this.#jobs.set(jobId, { resolve, reject, timer });
    });
    // The job may fail before its command does: nobody is waiting for it yet then.
    done.catch(() => undefined);
    try {
      replied(await this.#send(`bgapi ${oneLine(command)}\nJob-UUID: ${oneLine(jobId)}`));
    } catch (error) {
      clearTimeout(this.#jobs.get(jobId)?.timer);
      this.#jobs.delete(jobId);
      throw error;
    }
    return accepted(await done);
  }

  /** Sends a message to a channel; resolves when the node has queued it. */
  async sendmsg(uuid: string, headers: Readonly<Record<string, string>>): Promise<void> {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${oneLine(value)}`);
    replied(await this.#send([`sendmsg ${oneLine(uuid)}`, ...lines].join('\n')));
  }

  /** Says goodbye and ends the connection. */
  close(): void {
    if (this.#closed) return;
    this.#socket.end('exit\n\n');
    this.#fail(new EslError('lost', 'closed by us'));
  }

  /** Ends the connection at once, as broken. */
  abandon(reason: string): void {
    this.#fail(new EslError('lost', reason));
  }

  #send(command: string): Promise<Frame> {
    if (this.#closed) return Promise.reject(new EslError('lost', this.#closed.message));
    if (this.#pending.length >= this.#options.maxPending)
      return Promise.reject(new EslError('busy', `${this.#pending.length} commands are waiting already`));
    return new Promise((resolve, reject) => {
      const name = command
        .split(/\s/, 2)
        .slice(0, command.startsWith('auth') ? 1 : 2)
        .join(' ');
      const timer = setTimeout(
        () => this.#fail(new EslError('lost', `no reply to ${name} within ${this.#options.commandMs} ms`)),
        this.#options.commandMs,
      );
      this.#pending.push({ resolve, reject, timer });
      this.#socket.write(`${command}\n\n`);
    });
  }

  #read(chunk: Buffer): void {
    this.#heardAt = performance.now();
    try {
      for (const frame of this.#reader.push(chunk)) {
        if (this.#closed) return;
        this.#take(frame);
      }
    } catch (error) {
      this.#fail(
        new EslError(
          'lost',
          `the node does not speak the event socket protocol: ${error instanceof Error ? error.message : String(error)}`,
        ),
      );
    }
  }

  #take(frame: Frame): void {
    switch (frame.headers.get('content-type')) {
      case 'command/reply':
      case 'api/response': {
        const pending = this.#pending.shift();
        if (!pending) throw new Error('a reply to nothing');
        clearTimeout(pending.timer);
        pending.resolve(frame);
        return;
      }
      case 'text/event-json':
      case 'text/event-plain': {
        const event = readEvent(frame);
        if (event) this.#report(event);
        return;
      }
      case 'auth/request':
        this.#logIn().then(this.#opened, (error: unknown) =>
          this.#fail(error instanceof EslError ? error : new EslError('lost', String(error))),
        );
        return;
      case 'text/rude-rejection':
        this.#fail(new EslError('denied', `refused by its access list: ${frame.body.trim()}`));
        return;
      case 'text/disconnect-notice':
        this.#notice = new EslError(
          'lost',
          `disconnected by the node: ${frame.body.trim().split('\n', 1)[0]}`,
        );
        return;
      default:
        return;
    }
  }

  #report(event: EslEvent): void {
    if (event.name === 'BACKGROUND_JOB') {
      const id = event.headers['Job-UUID'] ?? '';
      const job = this.#jobs.get(id);
      if (job) {
        clearTimeout(job.timer);
        this.#jobs.delete(id);
        job.resolve(event.body);
        return;
      }
    }
    this.#options.onEvent(event);
  }

  async #logIn(): Promise<void> {
    const { password, events, unheard = [] } = this.#options;
    const reply = await this.#send(`auth ${oneLine(password)}`);
    if (!reply.headers.get('reply-text')?.startsWith('+OK'))
      throw new EslError('denied', `wrong password: ${reply.headers.get('reply-text') ?? ''}`);
    // With any filter set only what matches one passes, until one says no: all events but those of some
    // applications.
    const filters =
      unheard.length > 0
        ? ['Event-Name /./', ...unheard.map((application) => `Application -${application}`)]
        : [];
    for (const reply of await Promise.all(filters.map((filter) => this.#send(`filter ${filter}`))))
      replied(reply);
    replied(await this.#send(`event json ${[...new Set(['BACKGROUND_JOB', ...events])].join(' ')}`));
  }

  readonly #opened = (): void => {
    if (this.#closed) return;
    this.#open = true;
    this.#keepAlive = setInterval(() => {
      if (this.#pending.length > 0 || performance.now() - this.#heardAt < this.#options.keepAliveMs) return;
      // A node that does not answer this is caught by the time limit of every command.
      this.api('status').catch(() => undefined);
    }, this.#options.keepAliveMs);
    this.#opening.resolve();
  };

  #fail(reason: EslError): void {
    if (this.#closed) return;
    this.#closed = reason;
    clearInterval(this.#keepAlive);
    if (!this.#socket.writableEnded) this.#socket.destroy();
    else this.#socket.destroySoon();
    for (const pending of this.#pending.splice(0)) {
      clearTimeout(pending.timer);
      pending.reject(reason);
    }
    for (const job of this.#jobs.values()) {
      clearTimeout(job.timer);
      job.reject(reason);
    }
    this.#jobs.clear();
    if (this.#open) this.#options.onClose(reason);
    else this.#opening.reject(reason);
  }
}

/** A line break in a value would start a header, or a command, of its own. */
function oneLine(text: string): string {
  if (/[\r\n\0]/.test(text)) throw new EslError('refused', 'a command must not contain a line break');
  return text;
}

function accepted(result: string): string {
  if (/^-(ERR|USAGE)/.test(result)) throw new EslError('refused', result.trim());
  return result;
}

function replied(frame: Frame): void {
  const text = frame.headers.get('reply-text') ?? '';
  if (text.startsWith('-')) throw new EslError('refused', text);
}
