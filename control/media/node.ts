import { CALL_HEADERS, readCallHeaders, type CallHeaders } from '../lib/call-headers.ts';
import type { Logger } from '../lib/logger.ts';
import { isAnswered, isOutbound, ownHeaders, type ChannelHeaders } from './channel-state.ts';
import { FreeSwitchChannel } from './channel.ts';
import type { ChannelNode, LegListener, Peer } from './channel-commands.ts';
import { originateCommand } from './dial-string.ts';
import { isParked, Progress } from './dialing.ts';
import type { Doing } from './doing.ts';
import { EslClient, type EslTimings } from './esl/client.ts';
import type { EslConnection } from './esl/connection.ts';
import { EslError } from './esl/errors.ts';
import type { EslEvent } from './esl/events.ts';
import { deferred, type Deferred } from '../lib/deferred.ts';
import {
  MediaError,
  type Dialing,
  type Digit,
  type MediaNodeStatus,
  type OriginateRequest,
  type ParkedChannel,
} from './media.ts';
import { Inventory } from './inventory.ts';
import { nodeVersion } from './node-commands.ts';
import { Placements } from './placements.ts';

export interface NodeAddress {
  /** `host:sip-port` */
  name: string;
  host: string;
  eslPort: number;
}

export interface NodeTimings extends EslTimings {
  /** A node that is not back this long after its connection ended, in ms, has lost its channels. */
  graceMs: number;
  /** Between two looks at a connected node's channels, in ms: heals what a lost event would leave behind. */
  sweepMs: number;
  /**
   * `show channels` lags behind the events by a moment, in ms: so long after the first look comes the one
   * that counts.
   */
  settleMs: number;
  /**
   * A call that comes in keeps the node's guard for so long unless it is answered before, in ms: well below
   * the guard's 30 s.
   */
  unansweredMs: number;
}

export interface NodeOptions {
  address: NodeAddress;
  password: string;
  kamailio: string;
  /**
   * This control process, as `X-MV-Owner` names it: what a node guards calls of others against is left in
   * place.
   */
  owner: string | undefined;
  timings: NodeTimings;
  logger: Logger;
  onParked: (parked: ParkedChannel) => void;
  /** The node of this name. */
  peer: (name: string) => Peer | undefined;
}

const EVENTS = [
  'CHANNEL_OUTGOING',
  'CHANNEL_PARK',
  'CHANNEL_PROGRESS',
  'CHANNEL_PROGRESS_MEDIA',
  'CHANNEL_ANSWER',
  'CHANNEL_EXECUTE_COMPLETE',
  'CHANNEL_HANGUP_COMPLETE',
  'DTMF',
  'HEARTBEAT',
];
/**
 * The dialplan's own, and the park around everything: half of what a call would have the node say, with all
 * its variables each time.
 */
const UNHEARD = ['multiset', 'sched_hangup', 'ring_ready', 'park'];
const MAX_PENDING = 10_000;
/** How much longer than it may ring the command of an outbound call may run, in s. */
const JOB_SECONDS = 60;

/** One media node: its connection, and every channel on it that carries a call of ours. */
export class MediaNode implements ChannelNode, Peer {
  readonly name: string;
  readonly kamailio: string;
  /** Settles when the node has been asked for the first time which channels it has, or has been given up. */
  readonly asked: Promise<void>;
  readonly #options: NodeOptions;
  readonly #client: EslClient;
  readonly #channels = new Map<string, FreeSwitchChannel>();
  /** Who wants to know when the node comes back, or is given up. */
  readonly #watchers = new Set<() => void>();
  /** Who wants the news of a second leg, by the leg's uuid. */
  readonly #legs = new Map<string, LegListener>();
  readonly #placements = new Placements();
  readonly #inventory: Inventory;
  readonly #asked = deferred<void>();
  /** `away`: it may have channels we do not know. `given-up`: it has none any more. */
  #state: 'away' | 'ready' | 'given-up' = 'away';
  #connection: EslConnection | undefined;
  #waiting: Deferred<EslConnection>[] = [];
  #grace: NodeJS.Timeout | undefined;
  /** A new connection on which the node is being asked what it has. */
  #asking: EslConnection | undefined;
  /** Its time has passed while it was being asked: it is given up unless it answers. */
  #overdue = false;
  #sweep: NodeJS.Timeout | undefined;
  #version: string | undefined;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.name = options.address.name;
    this.kamailio = options.kamailio;
    this.asked = this.#asked.promise;
    const { host, eslPort } = options.address;
    this.#inventory = new Inventory({
      channels: this.#channels,
      isExpected: (uuid) => this.#placements.has(uuid),
      found: (headers, doing) => this.#add(headers, { doing }),
      vanished: (uuid) => {
        const channel = this.#channels.get(uuid);
        this.#channels.delete(uuid);
        channel?.lost();
      },
      settleMs: options.timings.settleMs,
    });
    this.#client = new EslClient({
      host,
      port: eslPort,
      password: options.password,
      events: EVENTS,
      unheard: UNHEARD,
      maxPending: MAX_PENDING,
      timings: options.timings,
      logger: options.logger,
      onEvent: (event) => this.#take(event),
      onUp: (connection) => void this.#reconcile(connection),
      onDown: () => this.#away(),
    });
  }

  start(): void {
    this.#client.start();
    this.#startGrace();
  }

  stop(): void {
    clearTimeout(this.#grace);
    clearTimeout(this.#sweep);
    this.#client.stop();
    this.#connection = undefined;
    this.#asking = undefined;
    this.#state = 'given-up';
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error('stopped'));
    this.#asked.resolve();
  }

  status(): MediaNodeStatus {
    return {
      name: this.name,
      connected: this.#state === 'ready',
      version: this.#version,
      channels: this.#channels.size,
    };
  }

  get pendingCommands(): number {
    return this.#client.pending;
  }

  mayHave(uuid: string): boolean {
    return this.#state === 'away' || this.#channels.has(uuid);
  }

  ready(): Promise<EslConnection> {
    if (this.#state === 'ready' && this.#connection) return Promise.resolve(this.#connection);
    if (this.#state === 'given-up')
      return Promise.reject(new Error(`media node ${this.name} is out of reach`));
    const waiting = deferred<EslConnection>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  /**
   * Places a call. @throws MediaError when the node is not there, or has refused: it has no channel of that
   * uuid then.
   */
  async originate(request: OriginateRequest): Promise<Dialing> {
    const { uuid, ringSeconds } = request;
    const command = originateCommand({ ...request, kamailio: this.kamailio });
    const own = readCallHeaders(Object.entries(request.headers));
    if (!own) throw new MediaError(`an outbound call needs the header ${CALL_HEADERS.callId}`);
    const connection = this.#connection;
    if (this.#state !== 'ready' || !connection)
      throw new MediaError(`media node ${this.name} is out of reach`);
    if (this.#channels.has(uuid)) throw new MediaError(`there is a channel ${uuid} already`);
    const progress = new Progress(() => void this.#disarm(uuid));
    const channel = new FreeSwitchChannel(
      this,
      { 'Unique-ID': uuid, 'Call-Direction': 'outbound' },
      progress,
    );
    this.#channels.set(uuid, channel);
    try {
      await this.#placements.place(connection, uuid, command, (ringSeconds + JOB_SECONDS) * 1000);
    } catch (error) {
      this.#channels.delete(uuid);
      channel.lost();
      throw error;
    }
    return {
      parked: parkedChannel(channel, own),
      ringing: progress.ringing,
      answered: progress.answered,
      trunkId: () => channel.trunkId,
    };
  }

  followLeg(uuid: string, listener: LegListener): () => void {
    this.#legs.set(uuid, listener);
    return () => this.#legs.delete(uuid);
  }

  get givenUp(): boolean {
    return this.#state === 'given-up';
  }

  watch(listener: () => void): () => void {
    const own = (): void => listener(); // The same listener twice is two listeners.
    this.#watchers.add(own);
    return () => this.#watchers.delete(own);
  }

  peer(name: string): Peer | undefined {
    return this.#options.peer(name);
  }

  #tellWatchers(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  #away(): void {
    clearTimeout(this.#sweep);
    this.#connection = undefined;
    this.#asking = undefined;
    this.#state = 'away';
    if (this.#overdue) this.#giveUp();
    else this.#startGrace();
  }

  /** The time runs from when the node was last ready, however often it comes and goes meanwhile. */
  #startGrace(): void {
    this.#grace ??= setTimeout(() => this.#giveUp(), this.#options.timings.graceMs);
  }

  #giveUp(): void {
    this.#grace = undefined;
    // It is back, and about to say which calls live on: none is lost before it has, or has failed to.
    this.#overdue = this.#asking !== undefined;
    if (this.#overdue) return;
    this.#state = 'given-up';
    if (this.#channels.size > 0)
      this.#options.logger.error(
        { channels: this.#channels.size },
        'the media node stays out of reach: its calls are lost',
      );
    const lost = [...this.#channels.values()];
    this.#channels.clear();
    for (const channel of lost) channel.lost();
    for (const waiting of this.#waiting.splice(0))
      waiting.reject(new Error(`media node ${this.name} is out of reach`));
    this.#asked.resolve();
    this.#tellWatchers();
  }

  #take(event: EslEvent): void {
    const { name, headers } = event;
    const uuid = headers['Unique-ID'] ?? '';
    const channel = this.#channels.get(uuid);
    const leg = this.#legs.get(uuid);
    if (!channel && !leg) this.#inventory.heard(event);
    switch (name) {
      case 'CHANNEL_OUTGOING':
        if (this.#placements.made(uuid)) return this.#kill(uuid);
        if (this.#connection) channel?.endIfAsked(this.#connection);
        return;
      case 'CHANNEL_PARK':
        if (channel) channel.tell(headers);
        // One of an outbound call that nobody here has placed: an earlier life of this process has.
        else if (!this.#inventory.hasSeenEnd(uuid))
          this.#add(headers, isOutbound(headers) ? { doing: undefined } : undefined);
        return;
      case 'CHANNEL_PROGRESS':
      case 'CHANNEL_PROGRESS_MEDIA':
        return leg ? leg('ringing', headers) : channel?.tell(headers);
      case 'CHANNEL_ANSWER':
        if (leg) return leg('answered', headers);
        channel?.answeredByNode(headers);
        return channel?.tell(headers);
      case 'CHANNEL_EXECUTE_COMPLETE':
        return channel?.completed(headers);
      case 'CHANNEL_HANGUP_COMPLETE':
        this.#inventory.sawEnd(uuid);
        this.#channels.delete(uuid);
        if (leg) return leg('ended', headers);
        return channel?.hungUp(headers);
      case 'DTMF':
        if (channel && /^[0-9*#A-D]$/.test(headers['DTMF-Digit'] ?? ''))
          channel.digit(headers['DTMF-Digit'] as Digit);
        return;
    }
  }

  /**
   * @param found the channel was found on the node, which announces none of what it is doing, instead of
   * announced by it.
   */
  #add(headers: ChannelHeaders, found?: { doing: Doing | undefined }): void {
    const own = ownHeaders(headers);
    if (!own) return;
    const uuid = headers['Unique-ID'] ?? '';
    const disarm = (): void => {
      const { owner } = this.#options;
      if (owner === undefined || own.owner === undefined || own.owner === owner) void this.#disarm(uuid);
    };
    const progress = isOutbound(headers) && !isParked(headers) ? new Progress(disarm) : undefined;
    const channel = new FreeSwitchChannel(this, headers, progress);
    this.#channels.set(uuid, channel);
    const parked = parkedChannel(channel, own);
    if (found) {
      const { trunkId } = channel;
      parked.adopted = {
        ...(found.doing && channel.adopt(found.doing)),
        ...(progress ? { dialing: progress } : trunkId !== undefined && { trunkId }),
      };
      const legs = found.doing?.application === 'bridge' ? [found.doing.leg] : [];
      for (const said of [headers, ...legs])
        for (const event of this.#inventory.toldSince(said)) this.#take(event);
    }
    // A call that nobody takes ends after 30 s, by the dialplan or by how it was placed. This one is taken:
    // from here on it is ours to end.
    if (isOutbound(headers)) {
      if (isParked(headers)) disarm();
    } else if (found) {
      if (!isAnswered(headers)) disarm();
    } else {
      // Nearly all are answered soon, which takes the guard back by itself.
      const later = setTimeout(() => channel.answered || disarm(), this.#options.timings.unansweredMs);
      void channel.ended.then(() => clearTimeout(later));
    }
    try {
      this.#options.onParked(parked);
    } catch (error) {
      this.#options.logger.error({ err: error, uuid: channel.uuid }, 'a parked call was not taken');
    }
  }

  /** The channel of a call that was given up before the node has told of it. */
  #kill(uuid: string): void {
    const killed = this.#connection?.api(`uuid_kill ${uuid} ORIGINATOR_CANCEL`);
    killed?.catch((error: unknown) =>
      this.#options.logger.warn(
        { err: error, uuid },
        'the channel of a call that was given up could not be ended',
      ),
    );
  }

  async #disarm(uuid: string): Promise<void> {
    try {
      await (await this.ready()).api(`sched_del ${uuid}`);
    } catch (error) {
      this.#options.logger.debug(
        { uuid, reason: error instanceof Error ? error.message : String(error) },
        'the guard of a parked call was not taken back',
      );
    }
  }

  /**
   * Asks the node which channels it has, before anything else is said on a new connection, and sets ours
   * right. Events are subscribed to already, so whatever happens meanwhile is seen as well: the first of the
   * two to tell of a channel makes it known, and nothing brings back one whose end has been seen.
   */
  async #reconcile(connection: EslConnection): Promise<void> {
    const { timings, logger } = this.#options;
    this.#asking = connection;
    try {
      this.#state = 'away'; // It may have been given up: now nobody knows what it has, until it has said so.
      this.#version = await nodeVersion(connection);
      await this.#inventory.compare(connection, true);
      if (this.#asking !== connection) return;
      this.#asking = undefined;
      this.#overdue = false;
      this.#connection = connection;
      this.#state = 'ready';
      clearTimeout(this.#grace);
      this.#grace = undefined;
      for (const waiting of this.#waiting.splice(0)) waiting.resolve(connection);
      this.#tellWatchers();
      await pause(timings.settleMs);
      if (this.#connection !== connection) return;
      await this.#inventory.compare(connection);
      this.#asked.resolve();
      this.#sweepLater(connection);
    } catch (error) {
      if (error instanceof EslError && error.kind === 'lost') return;
      logger.error({ err: error }, 'the channels of the media node could not be learnt');
      connection.abandon('its channels could not be learnt');
    }
  }

  #sweepLater(connection: EslConnection): void {
    this.#sweep = setTimeout(() => {
      this.#inventory.compare(connection).then(
        () => this.#connection === connection && this.#sweepLater(connection),
        (error: unknown) => connection.abandon(error instanceof Error ? error.message : String(error)),
      );
    }, this.#options.timings.sweepMs);
  }
}

const parkedChannel = (channel: FreeSwitchChannel, headers: CallHeaders): ParkedChannel => ({
  channel,
  headers,
  get dialog() {
    return channel.dialog;
  },
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
