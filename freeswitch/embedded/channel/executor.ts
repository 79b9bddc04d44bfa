import { randomUUID } from 'node:crypto';
import type { EslCommand } from '../esl/command-reader.ts';
import { parseCause } from '../causes.ts';
import { APPLICATIONS } from './applications.ts';
import type { Call } from './call.ts';
import type { Wait, WaitEnd } from './wait.ts';

/** Messages waiting on a channel; FreeSWITCH's own bound. */
const MAX_QUEUED = 256;
/** Applications running inside one another. */
const MAX_DEPTH = 16;

interface Frame {
  /** event-lock: nothing else runs until this has ended. */
  locked: boolean;
  /** The application waits and looks at the queue meanwhile. */
  polling: boolean;
}

/**
 * Runs applications on a channel the way FreeSWITCH's session thread does: messages one after the other; one
 * that came without event-lock lets the next run inside it.
 */
export class Executor {
  readonly #channel: Call;
  readonly #queue: EslCommand[] = [];
  readonly #frames: Frame[] = [];
  readonly #waits: Wait[] = [];
  #scheduled = false;
  #stopped = false;
  #parked = false;
  #break = false;
  #stopBroadcast = false;
  #idle: (() => void) | undefined;

  constructor(channel: Call) {
    this.#channel = channel;
  }

  /** The innermost application that waits now. */
  get waiting(): Wait | undefined {
    return this.#waits.at(-1);
  }

  /** Whether nothing but the park runs, so that keys are taken by it. */
  get parkedIdle(): boolean {
    return this.#parked && this.#frames.length === 0;
  }

  /** From now on messages are looked at. */
  park(): void {
    this.#parked = true;
    this.#pumpSoon();
  }

  /** @returns false when the queue is full */
  enqueue(message: EslCommand): boolean {
    if (this.#queue.length >= MAX_QUEUED) return false;
    this.#queue.push(message);
    this.#pumpSoon();
    return true;
  }

  flush(): void {
    this.#queue.length = 0;
  }

  /** Breaks the running application, if one can be broken. */
  break(): void {
    if (this.#frames.length > 0) this.#stopBroadcast = true;
    this.#break = true;
    const wait = this.waiting;
    if (!wait) return;
    this.#break = false;
    if (wait.breakable) wait.settle('break');
  }

  /** Drops what is queued, ends what runs, and resolves when all of it has reported its end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.flush();
    for (const wait of this.#waits) wait.settle('hangup');
    if (this.#frames.length > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  /** Waits as an application does. */
  async wait(wait: Wait): Promise<WaitEnd> {
    if (this.#stopped) return 'hangup';
    if (this.#break) {
      this.#break = false;
      if (wait.breakable) return 'break';
    }
    const frame = this.#frames.at(-1);
    this.#waits.push(wait);
    if (frame) frame.polling = true;
    this.#channel.digits.take();
    this.#pumpSoon();
    const end = await wait.promise;
    this.#waits.splice(this.#waits.indexOf(wait), 1);
    if (frame) frame.polling = false;
    return end;
  }

  #pumpSoon(): void {
    if (this.#scheduled || this.#stopped || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#stopped || !this.#parked || this.#frames.length >= MAX_DEPTH) return;
    const top = this.#frames.at(-1);
    if ((top && !top.polling) || this.#frames.some((frame) => frame.locked)) return;
    const message = this.#queue.shift();
    if (message) void this.#run(message);
  }

  async #run(message: EslCommand): Promise<void> {
    const { headers } = message;
    const frame: Frame = {
      locked: /^(true|yes|on|1)$/i.test(headers.get('event-lock') ?? ''),
      polling: false,
    };
    this.#frames.push(frame);
    try {
      const command = headers.get('call-command');
      if (command === 'execute') await this.#execute(message);
      else if (command === 'hangup')
        this.#channel.hangup(parseCause(headers.get('hangup-cause') ?? 'NORMAL_CLEARING'));
      else if (!command) this.#channel.log.info({ uuid: this.#channel.uuid }, 'message without call-command');
    } catch (error) {
      this.#channel.log.error({ err: error, uuid: this.#channel.uuid }, 'application failed');
    } finally {
      this.#frames.splice(this.#frames.indexOf(frame), 1);
    }
    this.#channel.emit('PRIVATE_COMMAND', {
      file: 'switch_ivr.c',
      fn: 'switch_ivr_parse_next_event',
      line: 804,
    });
    if (this.#frames.length === 0) this.#idle?.();
    this.#channel.digits.take();
    // One after the other in the same turn: a queue of prompts has no gaps.
    if (!this.#stopped && this.#queue.length > 0) this.#pump();
  }

  async #execute(message: EslCommand): Promise<void> {
    const { headers, body } = message;
    const name = headers.get('execute-app-name');
    if (!name) return;
    let argument = headers.get('execute-app-arg');
    if (!argument && headers.get('content-type')?.toLowerCase() === 'text/plain') argument = body;
    const loops = headers.has('loops') ? parseInt(headers.get('loops') ?? '', 10) || 0 : 1;
    const { variables } = this.#channel;
    if (this.#frames.length === 1) this.#stopBroadcast = false;
    for (let i = 0; i < loops || loops < 0; i++) {
      const began = performance.now();
      variables.set('current_loop', i + 1);
      variables.set('total_loops', loops);
      if (!(await this.apply(name, argument, headers.get('event-uuid')))) break;
      // A loop that does nothing would spin: FreeSWITCH leaves one that takes less than half a second.
      if (this.#stopped || this.#stopBroadcast || performance.now() - began < 500) break;
    }
    variables.set('current_loop', undefined);
    variables.set('total_loops', undefined);
  }

  /** Runs one application with the events around it. @returns false when it could not be run */
  async apply(name: string, argument: string | undefined, given?: string): Promise<boolean> {
    const channel = this.#channel;
    if (channel.down) return false;
    const application = APPLICATIONS.get(name.toLowerCase());
    if (!application) {
      channel.log.warn(
        { uuid: channel.uuid, application: name },
        'invalid application: the channel is hung up, as FreeSWITCH does',
      );
      channel.hangup('DESTINATION_OUT_OF_ORDER');
      return false;
    }
    const { variables } = channel;
    const uuid = given || randomUUID();
    const data = argument === undefined ? undefined : variables.expand(argument);
    variables.set('current_application', application.name);
    variables.set('current_application_data', data);
    variables.set('current_application_response', undefined);
    channel.lastApplication = { name: application.name, data: data ?? '' };
    const extra: Record<string, string> = { Application: application.name };
    if (data) extra['Application-Data'] = data;
    const origin = { file: 'switch_core_session.c', fn: 'switch_core_session_exec', line: 2929 };
    channel.emit('CHANNEL_EXECUTE', origin, { ...extra, 'Application-UUID': uuid });
    this.#break = false;
    await application.run(channel, data ?? '');
    extra['Application-Response'] = variables.get('current_application_response') ?? '_none_';
    channel.emit(
      'CHANNEL_EXECUTE_COMPLETE',
      { ...origin, line: 2967 },
      { ...extra, 'Application-UUID': uuid },
    );
    return true;
  }
}
