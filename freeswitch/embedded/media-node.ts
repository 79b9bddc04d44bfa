import { performance } from 'node:perf_hooks';
import type { Logger } from '../../control/lib/logger.ts';
import { AccessList } from './access-list.ts';
import { runCommand } from './api/commands.ts';
import type { Node } from './api/node.ts';
import { durationText, VERSION_SHORT } from './api/status.ts';
import { Answering } from './channel/answering.ts';
import { calledProfile, Calling } from './channel/calling.ts';
import { Channel, type ChannelContext, type Placed } from './channel/channel.ts';
import { headersOf, type DialString } from './channel/dial-string.ts';
import { InboundLeg } from './channel/inbound-leg.ts';
import { callerProfile, setInviteVariables } from './channel/invite-variables.ts';
import type { MediaResources } from './channel/leg-media.ts';
import { OutboundLeg } from './channel/outbound-leg.ts';
import { Rooms } from './conference/room.ts';
import type { NodeConfig } from './config.ts';
import type { EslCommand } from './esl/command-reader.ts';
import type { EslTarget } from './esl/connection.ts';
import { EventHub } from './esl/events.ts';
import { EslServer } from './esl/server.ts';
import { POLICY } from './policy.ts';
import { LoadFigures } from './load.ts';
import { MediaLibrary } from './media/library.ts';
import { FrameClock } from './rtp/clock.ts';
import { PortRange } from './rtp/ports.ts';
import { STANDARD_TIMERS } from './sip/timers.ts';
import type { ServerTransaction } from './sip/server-transaction.ts';
import { Transactions } from './sip/transactions.ts';
import { SipTransport } from './sip/transport.ts';
import { UserAgent } from './sip/user-agent.ts';

const HEARTBEAT_MS = 20_000;
/** How long a shutdown waits for its farewells to be answered. */
const FAREWELL_MS = 2_000;

/** The whole node: what main.ts starts and stops. */
export class MediaNode implements EslTarget, Node {
  readonly channels = new Map<string, Channel>();
  readonly hub: EventHub;
  readonly rooms = new Rooms();
  readonly load = new LoadFigures();
  readonly maxSessions: number;
  readonly globals: ReadonlyMap<string, string>;
  /** New calls are refused, or no second legs are called; those that are up go on. */
  readonly paused = { inbound: false, outbound: false };
  stopping = false;
  onShutdownRequested: () => void = () => {};
  readonly #config: NodeConfig;
  readonly #log: Logger;
  readonly #transport: SipTransport;
  readonly #transactions: Transactions;
  readonly #ua: UserAgent;
  readonly #esl: EslServer;
  readonly #library = new MediaLibrary();
  readonly #resources: MediaResources;
  readonly #startedAt = performance.now();
  #heartbeat: NodeJS.Timeout | undefined;

  /** @throws Error when an access list is none */
  constructor(config: NodeConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
    this.maxSessions = config.maxSessions;
    this.hub = new EventHub(config.sip.ip);
    this.globals = new Map([
      ['hostname', this.hub.hostname],
      ['core_uuid', this.hub.coreUuid],
      ['local_ip_v4', config.sip.ip],
      ['switchname', this.hub.hostname],
      ...POLICY,
    ]);
    const clock = new FrameClock((error) => log.error({ err: error }, 'audio frame failed'));
    this.#resources = { ip: config.rtp.ip, ports: new PortRange(config.rtp.start, config.rtp.end), clock };
    this.#transport = new SipTransport(config.sip.ip, config.sip.port, log);
    this.#transactions = new Transactions(this.#transport, STANDARD_TIMERS, log);
    this.#ua = new UserAgent(this.#transactions, new AccessList(config.sip.allow), log);
    this.#ua.onInvite = (transaction) => this.#onInvite(transaction);
    this.#ua.hasRoom = () => this.#hasRoom('inbound');
    this.#esl = new EslServer({
      ip: config.esl.ip,
      port: config.esl.port,
      password: config.esl.password,
      allow: new AccessList(config.esl.allow),
      hub: this.hub,
      target: this,
      log,
    });
  }

  get uptimeMicros(): number {
    return (performance.now() - this.#startedAt) * 1000;
  }

  async start(): Promise<void> {
    await this.#transport.listen();
    await this.#esl.listen();
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    const { sip, esl } = this.#config;
    this.#log.info(
      { sip: `${sip.ip}:${sip.port}`, esl: `${esl.ip}:${esl.port}`, max_sessions: this.maxSessions },
      'embedded media node is up',
    );
  }

  /** Hangs up what is up, waits a little for the answers, and closes. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    clearInterval(this.#heartbeat);
    const live = this.channels.size;
    for (const channel of [...this.channels.values()]) channel.hangup('SYSTEM_SHUTDOWN');
    const end = performance.now() + FAREWELL_MS;
    while ((this.channels.size > 0 || this.#transactions.pendingRequests > 0) && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    this.#transactions.stop();
    await Promise.all([this.#esl.close(), this.#transport.close()]);
    this.#log.info({ hung_up: live }, 'embedded media node is down');
  }

  api(command: string, argument: string): string | Promise<string> {
    return runCommand(this, command, argument);
  }

  sendMessage(uuid: string, message: EslCommand): boolean | undefined {
    return this.channels.get(uuid)?.executor.enqueue(message);
  }

  #hasRoom(direction: 'inbound' | 'outbound'): boolean {
    return !this.stopping && !this.paused[direction] && this.channels.size < this.maxSessions;
  }

  #onInvite(transaction: ServerTransaction): void {
    if (!this.#hasRoom('inbound')) {
      this.#ua.reply(transaction, 503, {
        toTag: this.#ua.newTag(),
        reason: 'Maximum Calls In Progress',
        headers: [['Retry-After', '300']],
      });
      return;
    }
    const type = transaction.request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
    if (transaction.request.body.length > 0 && type !== 'application/sdp') {
      this.#ua.reply(transaction, 415, {
        toTag: this.#ua.newTag(),
        headers: [['Accept', 'application/sdp']],
      });
      return;
    }
    const leg = new InboundLeg(transaction, this.#ua, this.#resources);
    leg.trying();
    const channel = new Channel(leg, callerProfile(transaction), 'inbound', this.#context());
    const answering = new Answering(channel, leg);
    channel.answering = answering;
    setInviteVariables(
      channel.variables,
      transaction,
      { ip: this.#transport.ip, port: this.#transport.port },
      leg.dialog.localTag,
    );
    this.#take(channel);
    answering.start().catch((error: unknown) => {
      this.#log.error({ err: error, uuid: channel.uuid }, 'channel failed');
      channel.hangup('NORMAL_TEMPORARY_FAILURE');
    });
  }

  #context(): ChannelContext {
    return {
      hub: this.hub,
      library: this.#library,
      rooms: this.rooms,
      log: this.#log,
      local: { ip: this.#transport.ip, port: this.#transport.port },
      sessionId: this.load.sinceStartup + 1,
      place: (dial, by) => this.place(dial, by),
      api: (command) => {
        const [name = '', ...words] = command.split(' ');
        void runCommand(this, name, words.join(' '));
      },
      onGone: (gone) => {
        this.channels.delete(gone.uuid);
        this.#log.info({ uuid: gone.uuid, cause: gone.hangupCause }, 'channel ended');
      },
    };
  }

  /**
   * Makes a channel that is about to call somebody.
   * @param by the channel it is for, where there is one. @returns the hangup cause where it cannot be made
   */
  place(dial: DialString, by?: Channel): Placed | string {
    if (!this.#hasRoom('outbound')) return 'SWITCH_CONGESTION';
    const uuid = dial.variables.get('origination_uuid');
    if (uuid !== undefined && (this.channels.has(uuid) || !/^[\w-]{1,64}$/.test(uuid)))
      return 'NORMAL_TEMPORARY_FAILURE';
    const number = dial.variables.get('origination_caller_id_number') ?? by?.profile.number ?? '0000000000';
    const leg = new OutboundLeg(
      {
        uri: dial.uri,
        peer: dial.peer,
        from: { number, name: dial.variables.get('origination_caller_id_name') ?? by?.profile.name ?? '' },
        headers: headersOf(dial.variables),
        prefer: by?.codec ?? 'PCMU',
      },
      this.#ua,
      this.#resources,
    );
    const channel = new Channel(leg, calledProfile(leg), 'outbound', this.#context(), uuid);
    for (const [name, value] of dial.variables) channel.variables.set(name, value);
    channel.originated = by !== undefined;
    if (by) channel.variables.set('call_uuid', by.uuid);
    channel.variables.set('channel_name', channel.profile.channelName);
    channel.variables.set('sip_destination_url', dial.uri);
    this.#take(channel);
    return { channel, calling: new Calling(channel, leg) };
  }

  #take(channel: Channel): void {
    this.channels.set(channel.uuid, channel);
    this.load.started(this.channels.size);
    this.#log.info({ uuid: channel.uuid, call: channel.variables.get('sip_h_X-MV-Call-ID') }, 'new channel');
  }

  #beat(): void {
    if (!this.hub.wanted('HEARTBEAT')) return;
    const { load } = this;
    const headers = this.hub.begin('HEARTBEAT', { file: 'switch_core.c', fn: 'send_heartbeat', line: 95 });
    Object.assign(headers, {
      'Event-Info': this.stopping ? 'System Not Ready' : 'System Ready',
      'Up-Time': durationText(this.uptimeMicros),
      'FreeSWITCH-Version': VERSION_SHORT,
      'Uptime-msec': String(Math.floor(this.uptimeMicros / 1000)),
      'Session-Count': String(this.channels.size),
      'Max-Sessions': String(this.maxSessions),
      'Session-Per-Sec': String(load.perSecond),
      'Session-Per-Sec-Last': String(load.lastSecond),
      'Session-Per-Sec-Max': String(load.peakPerSecond),
      'Session-Per-Sec-FiveMin': String(load.peakPerSecondFiveMinutes),
      'Session-Since-Startup': String(load.sinceStartup),
      'Session-Peak-Max': String(load.peak),
      'Session-Peak-FiveMin': String(load.peakFiveMinutes),
      'Idle-CPU': '100.000000',
    });
    this.hub.fire('HEARTBEAT', headers);
  }
}
