import { randomUUID } from 'node:crypto';
import { deferred, type Deferred } from '../lib/deferred.ts';
import { asMediaError, isLost, within, type ChannelCommands } from './channel-commands.ts';
import { isHangingUp, type ChannelHeaders } from './channel-state.ts';
import type { EslConnection } from './esl/connection.ts';
import { ChannelGone, MediaError } from './media.ts';
import { dumpChannel } from './node-commands.ts';

/** How long an application that was told to end takes at most, in ms, and how often it is told. */
const STOP_MS = 500;
const STOP_TRIES = 10;

interface Run {
  /** Our name for it, which its completion carries; undefined for one that an earlier process has started. */
  id: string | undefined;
  argument: string;
  /**
   * Where it is on its way: with us, on the node, or perhaps there, when the connection ended before the node
   * had confirmed it.
   */
  state: 'waiting' | 'sent' | 'unsure';
  done: Deferred<ChannelHeaders | undefined>;
}

export interface LastingApplicationOptions {
  commands: ChannelCommands;
  /** As FreeSWITCH calls it. */
  name: string;
  /**
   * Asks the node whether the application with this argument still runs: what it says of the channel itself
   * stays after the end.
   */
  runs: (connection: EslConnection, argument: string) => Promise<boolean>;
  /** Tells the node to end it. */
  end: (connection: EslConnection, argument: string) => Promise<unknown>;
}

/**
 * An application that has a caller until somebody ends it: `bridge`, `conference`. One of a kind at a time on
 * a channel.
 */
export class LastingApplication {
  readonly #options: LastingApplicationOptions;
  #run: Run | undefined;

  constructor(options: LastingApplicationOptions) {
    this.#options = options;
  }

  /** @throws ChannelGone; MediaError when one runs already. */
  check(): void {
    this.#options.commands.check();
    if (this.#run) throw new MediaError(`there is a ${this.#options.name} on this channel already`);
  }

  /**
   * Resolves with the headers of its completion, or with undefined when it was stopped before it began.
   * @param before what else to tell the node, ahead of it.
   */
  async run(
    argument: string,
    before?: (connection: EslConnection) => Promise<unknown>,
  ): Promise<ChannelHeaders | undefined> {
    this.check();
    const { commands } = this.#options;
    const run = this.#begin(randomUUID(), argument, 'waiting');
    try {
      await commands.run(async (connection) => {
        if (this.#run !== run) return;
        run.state = 'sent';
        await Promise.all([before?.(connection), this.#send(connection, run)]);
      });
    } catch (error) {
      // When the connection ended first, the node may do it nevertheless: that is found out on the next one,
      // in `refresh`.
      if (isLost(error)) run.state = 'unsure';
      else {
        this.#finish(run);
        throw error;
      }
    }
    return run.done.promise;
  }

  /** Takes over one that an earlier control process has started. */
  adopt(argument: string): Promise<ChannelHeaders | undefined> {
    return this.#begin(undefined, argument, 'sent').done.promise;
  }

  /** Resolves when none runs any more. */
  async stop(): Promise<void> {
    const { commands, name, end } = this.#options;
    for (let attempt = 1; attempt <= STOP_TRIES; attempt++) {
      const run = this.#run;
      if (!run) return;
      if (run.state === 'waiting') return this.#finish(run)?.resolve(undefined);
      try {
        // One that is still on its way on the node is not there to be ended yet: hence several times.
        await commands.run((connection) => end(connection, run.argument));
        await within(
          STOP_MS,
          run.done.promise.catch(() => undefined),
          '',
        );
      } catch (error) {
        if (!isLost(error) && !(error instanceof MediaError)) throw error;
      }
    }
    commands.check();
    if (this.#run) throw new MediaError(`the node did not end the ${name}`);
  }

  /** CHANNEL_EXECUTE_COMPLETE. While the channel is being torn down it is no verdict. */
  completed(event: ChannelHeaders): void {
    const run = this.#run;
    if (!run || event.Application !== this.#options.name || isHangingUp(event)) return;
    if (run.id === undefined || run.id === event['Application-UUID']) this.#finish(run)?.resolve(event);
  }

  /**
   * Settles what came to its end while there was no connection, and sends what the node turns out not to have
   * heard of.
   */
  async refresh(channel: ChannelHeaders, connection: EslConnection): Promise<void> {
    const run = this.#run;
    if (!run || run.state === 'waiting') return;
    const { name, runs, commands } = this.#options;
    try {
      if (
        channel.variable_current_application === name &&
        channel.variable_current_application_data === run.argument
      ) {
        run.state = 'sent';
        if (await runs(connection, run.argument)) return;
        const now = await dumpChannel(connection, commands.uuid);
        if (now) this.#finish(run)?.resolve(now);
      } else if (run.state === 'unsure') {
        run.state = 'sent';
        await this.#send(connection, run);
      } // Otherwise it is still in the queue: nothing else but us puts something behind it.
    } catch (error) {
      // Lost once more: the next connection asks again.
      if (isLost(error)) run.state = 'unsure';
      else this.#finish(run)?.reject(asMediaError(error));
    }
  }

  /** The channel has ended. */
  abandon(): void {
    if (this.#run) this.#finish(this.#run)?.reject(new ChannelGone(this.#options.commands.uuid));
  }

  #send(connection: EslConnection, { argument, id = '' }: Run): Promise<void> {
    return this.#options.commands.execute(connection, this.#options.name, argument, id);
  }

  #begin(id: string | undefined, argument: string, state: Run['state']): Run {
    const run: Run = { id, argument, state, done: deferred() };
    // Whoever runs it waits for this promise; a channel's end must not fail it where nobody does.
    run.done.promise.catch(() => undefined);
    this.#run = run;
    return run;
  }

  #finish(run: Run): Deferred<ChannelHeaders | undefined> | undefined {
    if (this.#run !== run) return undefined;
    this.#run = undefined;
    return run.done;
  }
}
