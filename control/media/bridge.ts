import { randomUUID } from 'node:crypto';
import { deferred } from '../lib/deferred.ts';
import type { ChannelCommands, ChannelNode, LegListener } from './channel-commands.ts';
import { answeredTo, farEndIn, isAnswered, trunkOf, type ChannelHeaders } from './channel-state.ts';
import { dialString, legOf } from './dial-string.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import { LastingApplication } from './lasting-application.ts';
import type { Adopted, LegRequest, LegResult } from './media.ts';
import { channelExists, dumpChannel } from './node-commands.ts';

const CAUSE_OF_LAST = 'last_bridge_proto_specific_hangup_cause';
/** Causes that are ours and not the leg's: no SIP code belongs to them. */
const OWN_CAUSES = new Set(['NO_ANSWER', 'ORIGINATOR_CANCEL']);

/** A second leg for a caller, rung and connected by the node. */
export class Bridge {
  readonly #node: ChannelNode;
  readonly #commands: ChannelCommands;
  readonly #application: LastingApplication;
  #interrupted = false;
  /** Of the leg there is now. */
  #connected = false;
  #leg = '';
  #onNews: LegListener = () => undefined;

  constructor(node: ChannelNode, commands: ChannelCommands) {
    this.#node = node;
    this.#commands = commands;
    this.#application = new LastingApplication({
      commands,
      name: 'bridge',
      runs: (connection, argument) => this.#legIsThere(connection, legOf(argument) ?? ''),
      end: (connection, argument) => this.#endLeg(connection, legOf(argument) ?? ''),
    });
  }

  async run(request: LegRequest): Promise<LegResult> {
    this.#application.check();
    return this.dial(
      dialString({ ...request, uuid: randomUUID(), of: this.#commands.uuid, kamailio: this.#node.kamailio }),
      request,
    );
  }

  /** Runs a leg by its dial string. */
  async dial(
    argument: string,
    { onRinging, onAnswered, onTrunk }: Pick<LegRequest, 'onRinging' | 'onAnswered' | 'onTrunk'> = {},
  ): Promise<LegResult> {
    this.#application.check();
    const leg = legOf(argument) ?? '';
    let rang = false;
    let trunk: string | undefined;
    let answered: number | undefined;
    const result = await this.#follow(
      leg,
      (news, headers) => {
        const via = trunkOf(headers);
        if (via !== undefined && via !== trunk) onTrunk?.((trunk = via));
        if (news === 'ended') answered = answeredTo(headers);
        else if (news === 'ringing' && !rang && !this.#connected) {
          rang = true;
          onRinging?.();
        } else if (news === 'answered' && !this.#connected) {
          this.#connected = true;
          onAnswered?.(leg, farEndIn(headers));
        }
      },
      () => {
        // A leg that sends no final code leaves the one of the leg before it behind.
        return this.#application.run(argument, (connection) =>
          connection.api(`uuid_setvar ${this.#commands.uuid} ${CAUSE_OF_LAST}`),
        );
      },
    );
    return result.sipCode !== undefined && answered !== undefined ? { ...result, sipCode: answered } : result;
  }

  /**
   * Takes over a leg that an earlier control process has asked for.
   * @param leg what the node says of it.
   */
  adopt(argument: string, leg: ChannelHeaders): NonNullable<Adopted['bridging']> {
    const answered = deferred<boolean>();
    const connected = isAnswered(leg);
    if (connected) answered.resolve(true);
    const finished = this.#follow(
      legOf(argument) ?? '',
      (news) => {
        if (news !== 'answered') return;
        this.#connected = true;
        answered.resolve(true);
      },
      () => this.#application.adopt(argument),
      connected,
    );
    finished.then(
      ({ reached }) => answered.resolve(reached),
      () => answered.resolve(false),
    );
    const trunkId = trunkOf(leg);
    return { connected, answered: answered.promise, finished, ...(trunkId !== undefined && { trunkId }) };
  }

  /** The leg there is has answered. */
  get connected(): boolean {
    return this.#connected;
  }

  /** The uuid of the leg there is, once it has answered. */
  get connectedLeg(): string | undefined {
    return this.#connected ? this.#leg : undefined;
  }

  /** Ends the leg, ringing or connected. */
  stop(): Promise<void> {
    this.#interrupted = true;
    return this.#application.stop();
  }

  completed(event: ChannelHeaders): void {
    this.#application.completed(event);
  }

  refresh(channel: ChannelHeaders, connection: EslConnection): Promise<void> {
    return this.#application.refresh(channel, connection);
  }

  abandon(): void {
    this.#application.abandon();
  }

  async #follow(
    leg: string,
    onNews: LegListener,
    application: () => Promise<ChannelHeaders | undefined>,
    connected = false,
  ): Promise<LegResult> {
    this.#interrupted = false;
    this.#connected = connected;
    this.#leg = leg;
    this.#onNews = onNews;
    const unfollow = this.#node.followLeg(leg, onNews);
    try {
      const end = await application();
      return end ? legResult(end, this.#interrupted) : { reached: false, cause: 'ORIGINATOR_CANCEL' };
    } finally {
      this.#connected = false;
      unfollow();
    }
  }

  /** Also tells of an answer that was missed. */
  async #legIsThere(connection: EslConnection, leg: string): Promise<boolean> {
    const channel = await dumpChannel(connection, leg);
    if (channel && isAnswered(channel)) this.#onNews('answered', channel);
    return channel !== undefined || channelExists(connection, leg);
  }

  async #endLeg(connection: EslConnection, leg: string): Promise<void> {
    try {
      await connection.api(`uuid_kill ${leg} ${this.#connected ? 'NORMAL_CLEARING' : 'ORIGINATOR_CANCEL'}`);
    } catch (error) {
      if (!(error instanceof EslError && error.kind === 'refused')) throw error;
    }
  }
}

/** What became of the leg, from what the node says of the caller's channel when `bridge` has ended. */
export function legResult(channel: ChannelHeaders, interrupted: boolean): LegResult {
  const disposition = channel.variable_originate_disposition ?? 'UNKNOWN';
  // A caller who leaves ends the channel, so with the channel there it was the callee, or us.
  if (disposition === 'SUCCESS')
    return {
      reached: true,
      cause: channel.variable_last_bridge_hangup_cause ?? 'NORMAL_CLEARING',
      endedBy: interrupted ? 'platform' : 'callee',
    };
  const code = Number(/^sip:([3-6]\d\d)$/.exec(channel[`variable_${CAUSE_OF_LAST}`] ?? '')?.[1]);
  return {
    reached: false,
    cause: disposition,
    ...(code > 0 && !OWN_CAUSES.has(disposition) && { sipCode: code }),
  };
}
