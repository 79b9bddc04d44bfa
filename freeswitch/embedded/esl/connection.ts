import { randomUUID } from 'node:crypto';
import type net from 'node:net';
import type { Logger } from '../../../control/lib/logger.ts';
import { CommandReader, type EslCommand } from './command-reader.ts';
import type { FsEvent } from './event.ts';
import type { EventHub, EventListener } from './events.ts';
import { Filters } from './filters.ts';
import { Subscription } from './subscription.ts';

/** What the event socket drives. */
export interface EslTarget {
  /** Runs an API command and gives its output, empty where there is none. */
  api(command: string, argument: string): string | Promise<string>;
  /** Queues a message on a channel: false when the queue is full, undefined without such a channel. */
  sendMessage(uuid: string, message: EslCommand): boolean | undefined;
}

const GOODBYE = 'Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n';
const LOST = 'killed listener because of lost events\n';
/**
 * Events waiting for a slow reader; beyond it they are lost, and after MAX_LOST of those the connection is,
 * as in FreeSWITCH. It counts events only; here their bytes count too, since all of it is one process's
 * memory.
 */
const MAX_QUEUE = 100_000;
const MAX_QUEUE_BYTES = 64 * 1024 * 1024;
const MAX_LOST = 500;
/** Bytes handed to the socket ahead of what the reader has taken. */
const HIGH_WATER = 1024 * 1024;
const MAX_COMMANDS = 10_000;
const LOGIN_MS = 25_000;

/** One client of the event socket, inbound mode. Commands are answered strictly in order. */
export class EslConnection implements EventListener {
  readonly #socket: net.Socket;
  readonly #hub: EventHub;
  readonly #target: EslTarget;
  readonly #password: string;
  readonly #log: Logger;
  readonly #reader = new CommandReader();
  readonly #filters = new Filters();
  readonly #subscription = new Subscription();
  readonly #commands: EslCommand[] = [];
  #events: string[] = [];
  #eventBytes = 0;
  #flushing = false;
  #running = false;
  #authenticated = false;
  #closing = false;
  #lost = 0;
  readonly #login: NodeJS.Timeout;

  constructor(socket: net.Socket, hub: EventHub, target: EslTarget, password: string, log: Logger) {
    this.#socket = socket;
    this.#hub = hub;
    this.#target = target;
    this.#password = password;
    this.#log = log;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#data(chunk));
    socket.on('drain', () => this.#flushSoon());
    socket.on('error', () => socket.destroy());
    socket.on('end', () => this.close());
    socket.on('close', () => this.#closed());
    hub.add(this);
    this.#login = setTimeout(() => this.close(), LOGIN_MS);
    this.#login.unref();
    socket.write('Content-Type: auth/request\n\n');
  }

  wants(name: string): boolean {
    return !this.#closing && this.#subscription.wants(name);
  }

  deliver(event: FsEvent): void {
    if (!this.#filters.passes(event)) return;
    if (this.#events.length >= MAX_QUEUE || this.#eventBytes >= MAX_QUEUE_BYTES) {
      if (++this.#lost > MAX_LOST) {
        this.#log.warn({ lost: this.#lost }, 'event socket client does not read: connection closed');
        this.close(LOST);
      }
      return;
    }
    const frame = event.frame(this.#subscription.format);
    this.#events.push(frame);
    this.#eventBytes += frame.length;
    this.#flushSoon();
  }

  /** Says goodbye and closes. */
  close(message: string = GOODBYE): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#dropEvents();
    this.#commands.length = 0;
    if (!this.#socket.destroyed) {
      this.#socket.end(
        `Content-Type: text/disconnect-notice\nContent-Length: ${Buffer.byteLength(message)}\n\n${message}`,
      );
      // A client that does not close its side would keep the socket for ever.
      setTimeout(() => this.#socket.destroy(), 2_000).unref();
    }
    this.#closed();
  }

  #closed(): void {
    this.#closing = true;
    clearTimeout(this.#login);
    this.#dropEvents();
    this.#hub.remove(this);
  }

  #dropEvents(): void {
    this.#events = [];
    this.#eventBytes = 0;
  }

  /** Events go out once per turn of the event loop, behind the reply to the command that caused them. */
  #flushSoon(): void {
    if (this.#flushing || this.#closing || this.#events.length === 0) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      if (this.#closing) return;
      let text = '';
      let taken = 0;
      while (taken < this.#events.length && this.#socket.writableLength + text.length < HIGH_WATER) {
        text += this.#events[taken++] ?? '';
      }
      if (taken === 0) return;
      this.#events = this.#events.slice(taken);
      this.#eventBytes -= text.length;
      // Without back-pressure no 'drain' will come: what is left is sent in the next turn.
      if (this.#socket.write(text)) this.#flushSoon();
    });
  }

  #data(chunk: Buffer): void {
    if (this.#closing) return;
    try {
      this.#commands.push(...this.#reader.push(chunk));
    } catch (error) {
      this.#log.info({ err: error }, 'event socket connection closed');
      this.#socket.destroy();
      return;
    }
    if (this.#commands.length > MAX_COMMANDS) this.#socket.pause();
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let command = this.#commands.shift(); command && !this.#closing; command = this.#commands.shift()) {
      try {
        const reply = this.#handle(command);
        const text = typeof reply === 'string' ? reply : await reply;
        if (!this.#closing && text) this.#socket.write(text);
      } catch (error) {
        this.#log.error(
          { err: error, command: command.line.split(' ', 2).join(' ') },
          'event socket command failed',
        );
        if (!this.#closing) this.#socket.write(commandReply('-ERR command failed'));
      }
      if (this.#commands.length < MAX_COMMANDS / 2) this.#socket.resume();
    }
    this.#running = false;
  }

  #handle(command: EslCommand): string | Promise<string> {
    const { line } = command;
    const lower = line.toLowerCase();
    if (lower.startsWith('exit') || line.startsWith('...')) {
      this.#socket.write(commandReply('+OK bye'));
      this.close();
      return '';
    }
    if (!this.#authenticated) return this.#authenticate(line, lower);
    if (lower.startsWith('filter ')) return commandReply(this.#filters.command(line.slice(7)));
    if (lower.startsWith('divert_events')) return commandReply('-ERR not controlling a session.');
    if (lower.startsWith('sendmsg')) return commandReply(this.#sendMessage(command));
    if (lower.startsWith('api ')) return this.#api(line.slice(4));
    if (lower.startsWith('bgapi ')) return this.#background(line.slice(6), command.headers.get('job-uuid'));
    if (lower.startsWith('linger') || lower.startsWith('nolinger'))
      return commandReply('-ERR not controlling a session');
    if (lower.startsWith('event')) return commandReply(this.#subscription.add(line.slice(5)));
    if (lower.startsWith('nixevent')) return commandReply(this.#subscription.remove(line.slice(8)));
    if (lower.startsWith('noevents')) {
      this.#dropEvents();
      return commandReply(this.#subscription.clear());
    }
    if (lower.startsWith('log'))
      return commandReply(`+OK log level ${line.slice(3).trim()} [${parseInt(line.slice(3), 10) || 7}]`);
    if (lower.startsWith('nolog')) return commandReply('+OK no longer logging');
    return commandReply('-ERR command not found');
  }

  #authenticate(line: string, lower: string): string {
    const user = lower.startsWith('userauth ');
    if (!user && !lower.startsWith('auth ')) return commandReply('-ERR command not found');
    if (!user && line.slice(5) === this.#password) {
      this.#authenticated = true;
      clearTimeout(this.#login);
      return commandReply('+OK accepted');
    }
    // One wrong password ends the connection.
    this.#socket.write(commandReply('-ERR invalid'));
    this.close();
    return '';
  }

  #sendMessage(command: EslCommand): string {
    const uuid = command.line.slice(7).trim() || command.headers.get('session-id') || '';
    const queued = uuid ? this.#target.sendMessage(uuid, command) : undefined;
    if (queued === undefined) return `-ERR invalid session id [${uuid}]`;
    return queued ? '+OK' : '-ERR memory error';
  }

  #api(text: string): string | Promise<string> {
    const output = this.#target.api(...splitCommand(text));
    return typeof output === 'string' ? apiResponse(output) : output.then(apiResponse);
  }

  #background(text: string, given: string | undefined): string {
    const [name, argument] = splitCommand(text);
    const job = given ?? randomUUID();
    setImmediate(() => void this.#job(job, name, argument));
    return `Content-Type: command/reply\nReply-Text: +OK Job-UUID: ${job}\nJob-UUID: ${job}\n\n`;
  }

  async #job(job: string, name: string, argument: string): Promise<void> {
    let output: string;
    try {
      output = await this.#target.api(name, argument);
    } catch (error) {
      this.#log.error({ err: error, command: name }, 'background job failed');
      output = '-ERR command failed\n';
    }
    const headers = this.#hub.begin('BACKGROUND_JOB', {
      file: 'mod_event_socket.c',
      fn: 'api_exec',
      line: 1572,
    });
    headers['Job-UUID'] = job;
    headers['Job-Command'] = name;
    if (argument) headers['Job-Command-Arg'] = argument;
    this.#hub.fire('BACKGROUND_JOB', headers, output);
  }
}

function commandReply(text: string): string {
  return `Content-Type: command/reply\nReply-Text: ${text}\n\n`;
}

function apiResponse(output: string): string {
  const text = output || '-ERR no reply\n';
  return `Content-Type: api/response\nContent-Length: ${Buffer.byteLength(text)}\n\n${text}`;
}

function splitCommand(text: string): [string, string] {
  const space = text.indexOf(' ');
  return space < 0 ? [text, ''] : [text.slice(0, space), text.slice(space + 1)];
}
