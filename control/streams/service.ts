import type { Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import { isLoopbackAddress } from '../lib/addresses.ts';
import { createAgents, createResolve, isLocalhost, type Agents, type Guard } from '../lib/guarded-agent.ts';
import { checkUrl, FetchError } from '../lib/guarded-url.ts';
import type { Ids } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import { Turns } from '../lib/turns.ts';
import type { Channel, ParkedChannel } from '../media/media.ts';
import { sign } from '../webhooks/signature.ts';
import { CallAudio } from './call-audio.ts';
import { FrameClock } from './frame-clock.ts';
import type { Rtpengine } from './rtpengine.ts';
import type { RunningStream, RunningStreams } from './running-streams.ts';
import { Stream, type StreamEnd, type StreamTrack } from './stream.ts';

export interface StreamServiceOptions {
  calls: Calls;
  ids: Ids;
  rtpengine: Rtpengine;
  running: Pick<RunningStreams, 'save' | 'load'>;
  /** Secrets that requests of an application are signed with. */
  secretsOf: (applicationId: string) => readonly string[];
  /** The development profile: `ws` to loopback is allowed. */
  allowPrivate: boolean;
  /** Where rtpengine sends audio to. */
  host: string;
  ports: { first: number; last: number };
  logger: Logger;
  now?: () => Date;
  resolve?: Guard['resolve'];
  ca?: string;
  retryMs?: number;
  pingMs?: number;
}

/** What is needed of a channel here. */
export type StreamedChannel = Pick<Channel, 'ended' | 'onDigit'>;

/** Streams that one call may have at once. */
const MOST_STREAMS = 4;
const STOPPING = 'the control plane is stopping';
const ENDED = 'the call has ended';

interface Streamed {
  call: Call;
  audio: CallAudio;
  streams: Set<Stream>;
  /** Stops the clock and the keys. */
  release: () => void;
}

/** A stream that could not be begun, with its reason. */
class NotStarted extends Error {
  readonly reason: StreamEnd;

  constructor(reason: StreamEnd, message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * Media streams: a copy of a call's audio to customers' WebSockets, and what they say to the caller. They run
 * beside the flow and end with the call. What a later life of this process needs to go on with them is in
 * Redis.
 */
export class StreamService {
  readonly #o: StreamServiceOptions;
  readonly #now: () => Date;
  readonly #agents: Agents;
  readonly #clock = new FrameClock();
  readonly #calls = new Map<string, Streamed>();
  /** Calls whose streams this process has told of, or tells of: Redis knows nothing better. */
  readonly #known = new WeakSet<Call>();
  /** What is being done about a call's streams: one thing after the other. */
  readonly #turns = new Turns();
  #closed = false;

  constructor(options: StreamServiceOptions) {
    this.#o = options;
    this.#now = options.now ?? (() => new Date());
    this.#agents = createAgents({
      allowPrivate: options.allowPrivate,
      resolve: options.resolve ?? createResolve(),
      connectTimeoutMs: 2000,
      maxSocketsPerHost: 4096,
      ca: options.ca,
    });
    options.calls.lifecycle.afterEnd('streams', (call) => this.#callEnded(call));
  }

  /** Figures for gauges. */
  get counters(): { streams: number; calls: number } {
    let streams = 0;
    for (const streamed of this.#calls.values()) streams += streamed.streams.size;
    return { streams, calls: this.#calls.size };
  }

  /**
   * Begins a stream, and returns as soon as its audio is being copied: the receiver is connected to in the
   * background.
   * @throws Error when it cannot be begun; that has been told as `stream.stopped`.
   */
  start(
    call: Call,
    channel: StreamedChannel,
    dialog: ParkedChannel['dialog'],
    wanted: { url: string; track: StreamTrack },
  ): Promise<string> {
    const sid = this.#o.ids.next('stream');
    this.#known.add(call);
    return this.#turns.take(call.id, async () => {
      try {
        await this.#begin(call, channel, dialog, { ...wanted, sid, startedAt: this.#now() });
        return sid;
      } catch (error) {
        const reason = error instanceof NotStarted ? error.reason : 'audio_unavailable';
        const message = error instanceof Error ? error.message : String(error);
        if (reason === 'audio_unavailable')
          this.#o.logger.warn({ err: error, call: call.id }, 'a stream could not be started');
        this.#o.calls.stream(call, 'stream.stopped', {
          ...identity({ ...wanted, sid }),
          reason,
          message,
          duration_seconds: 0,
          frames_sent: 0,
          frames_dropped: 0,
        });
        throw error;
      }
    });
  }

  /** Ends the streams of a call that have this URL and this track, where given. @returns how many. */
  stop(call: Call, which: { url?: string | undefined; track?: StreamTrack | undefined }): Promise<number> {
    return this.#turns.take(call.id, async () => {
      const streamed = this.#calls.get(call.id);
      const found = [...(streamed?.streams ?? [])].filter(
        ({ url, track }) => (which.url ?? url) === url && (which.track ?? track) === track,
      );
      for (const stream of found) {
        stream.end('stopped');
        await this.#remove(call.id, stream, 'stopped');
      }
      return found.length;
    });
  }

  /**
   * The channel of a call was taken over from an earlier life of this process: its streams go on, over new
   * connections.
   */
  async resumed(call: Call, channel: StreamedChannel, dialog: ParkedChannel['dialog']): Promise<void> {
    if (this.#calls.has(call.id)) return; // Only the connection to the media node was lost.
    this.#known.add(call);
    await this.#turns.take(call.id, async () => {
      const left = await this.#o.running.load(call.id);
      if (left.length > 0 || hadStreams(call)) await CallAudio.release(this.#o.rtpengine, call, dialog);
      for (const running of left) {
        try {
          await this.#begin(call, channel, dialog, running, true);
          this.#o.calls.note(call, 'stream.resumed', identity(running));
        } catch (error) {
          if (this.#closed) return; // It is left to the next life.
          const reason = error instanceof NotStarted ? error.reason : 'audio_unavailable';
          if (reason === 'audio_unavailable')
            this.#o.logger.warn(
              { err: error, call: call.id, stream: running.sid },
              'a stream could not be taken over',
            );
          this.#told(call, running, reason, { framesSent: 0, framesDropped: 0 });
        }
      }
      this.#save(call.id);
    });
  }

  /**
   * Leaves receivers and gives all ports back. The streams of calls that go on are taken up by the next life
   * of this process.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(
      [...this.#calls.values()].map(async ({ streams, release, audio }) => {
        release();
        for (const stream of streams) stream.suspend();
        await audio.close();
      }),
    );
    this.#calls.clear();
    this.#agents.destroy();
  }

  async #begin(
    call: Call,
    channel: StreamedChannel,
    dialog: ParkedChannel['dialog'],
    { sid, url, track, startedAt }: RunningStream,
    resumed = false,
  ): Promise<void> {
    this.#check(url);
    if (this.#closed) throw new NotStarted('audio_unavailable', STOPPING);
    if ((this.#calls.get(call.id)?.streams.size ?? 0) >= MOST_STREAMS)
      throw new NotStarted('audio_unavailable', `a call can have at most ${MOST_STREAMS} streams`);
    let over = false;
    void channel.ended.then(() => {
      over = true;
    });
    const streamed =
      this.#calls.get(call.id) ??
      (await this.#open(call, channel, dialog, () => over).catch((error: unknown) => {
        throw over ? new NotStarted('call_ended', ENDED) : error;
      }));
    const stream: Stream = new Stream({
      sid,
      url,
      track,
      callId: call.id,
      customerId: call.customerId,
      startedAt,
      variables: () => call.variables,
      headers: () => this.#headers(call, url),
      agents: this.#agents,
      playback: streamed.audio.speak(),
      now: this.#now,
      onConnected: (first) => {
        if (first && !resumed) this.#o.calls.stream(call, 'stream.started', identity(stream));
        else this.#o.calls.note(call, 'stream.connected', identity(stream));
      },
      onDisconnected: (message, retryInMs) =>
        this.#o.calls.note(call, 'stream.disconnected', {
          ...identity(stream),
          message,
          retry_in_ms: retryInMs,
        }),
      onEnd: (reason, message) =>
        void this.#turns.take(call.id, () => this.#remove(call.id, stream, reason, message)),
      retryMs: this.#o.retryMs,
      pingMs: this.#o.pingMs,
    });
    try {
      for (const side of stream.sides) await streamed.audio.listen(side);
      // Nobody would end a stream that begins after the end.
      if (over) throw new NotStarted('call_ended', ENDED);
      if (this.#closed) throw new NotStarted('audio_unavailable', STOPPING);
    } catch (error) {
      streamed.audio.hush(stream.playback);
      await this.#closeIfIdle(call.id);
      throw error;
    }
    streamed.streams.add(stream);
    this.#save(call.id);
    stream.connect();
  }

  async #open(
    call: Call,
    channel: StreamedChannel,
    dialog: ParkedChannel['dialog'],
    over: () => boolean,
  ): Promise<Streamed> {
    const { rtpengine, host, ports, calls } = this.#o;
    const audio = await CallAudio.open({
      rtpengine,
      call,
      dialog,
      host,
      ports,
      over,
      onVoiceFailed: (error) =>
        calls.note(call, 'stream.playback_failed', {
          message: error instanceof Error ? error.message : String(error),
        }),
    });
    const streams = new Set<Stream>();
    const stopClock = this.#clock.listen(() => {
      const frames = audio.tick();
      for (const stream of streams) stream.tick(frames);
    });
    const stopKeys = channel.onDigit((digit) => {
      for (const stream of streams) stream.digit(digit);
    });
    const streamed = {
      call,
      audio,
      streams,
      release: () => {
        stopClock();
        stopKeys();
      },
    };
    this.#calls.set(call.id, streamed);
    // Before the call's own end is told.
    void channel.ended.then(() => this.#callEnded(call));
    return streamed;
  }

  /**
   * @throws NotStarted for a URL that no stream may go to, as far as that can be said without asking a name
   * server.
   */
  #check(url: string): void {
    const { allowPrivate } = this.#o;
    try {
      const { protocol, hostname } = checkUrl(url, {
        allowPrivate,
        schemes: allowPrivate ? ['wss', 'ws'] : ['wss'],
      });
      const host = hostname.replace(/^\[|\]$/g, '');
      if (protocol === 'ws:' && !isLocalhost(host) && !isLoopbackAddress(host))
        throw new NotStarted('url_refused', 'ws is for loopback addresses only: use wss');
    } catch (error) {
      throw error instanceof FetchError ? new NotStarted('url_refused', error.message) : error;
    }
  }

  /** Signed is the raw query string of the URL, as for every GET to a customer. */
  #headers(call: Call, url: string): Record<string, string> {
    const secrets = call.applicationId ? this.#o.secretsOf(call.applicationId) : [];
    return {
      'user-agent': 'MiniVoice',
      'x-minivoice-call-id': call.id,
      ...sign(secrets, new URL(url).search.slice(1), this.#now().getTime() / 1000),
    };
  }

  async #callEnded(call: Call): Promise<void> {
    const streamed = this.#calls.get(call.id);
    if (streamed) {
      // At once, so that it is told before the call's own end.
      for (const stream of [...streamed.streams]) {
        stream.end('call_ended');
        this.#forget(streamed, stream, 'call_ended');
      }
    }
    if (streamed || this.#turns.has(call.id))
      return this.#turns.take(call.id, () => this.#closeIfIdle(call.id));
    // It has ended while nobody looked, and its streams with it.
    if (!hadStreams(call) || this.#known.has(call)) return;
    const left = await this.#o.running.load(call.id);
    this.#o.running.save(call.id, []);
    for (const running of left) this.#told(call, running, 'call_ended', { framesSent: 0, framesDropped: 0 });
  }

  async #remove(callId: string, stream: Stream, reason: StreamEnd, message?: string): Promise<void> {
    const streamed = this.#calls.get(callId);
    if (!streamed?.streams.has(stream)) return;
    this.#forget(streamed, stream, reason, message);
    await this.#closeIfIdle(callId);
  }

  #forget({ call, audio, streams }: Streamed, stream: Stream, reason: StreamEnd, message?: string): void {
    streams.delete(stream);
    audio.hush(stream.playback);
    this.#told(call, stream, reason, stream.counts, message);
    this.#save(call.id);
  }

  async #closeIfIdle(callId: string): Promise<void> {
    const streamed = this.#calls.get(callId);
    if (!streamed || streamed.streams.size > 0) return;
    this.#calls.delete(callId);
    streamed.release();
    await streamed.audio.close();
  }

  #told(
    call: Call,
    stream: RunningStream | Stream,
    reason: StreamEnd,
    counts: { framesSent: number; framesDropped: number },
    message?: string,
  ): void {
    this.#o.calls.stream(call, 'stream.stopped', {
      ...identity(stream),
      reason,
      message,
      duration_seconds: Math.max(0, Math.round((this.#now().getTime() - stream.startedAt.getTime()) / 1000)),
      frames_sent: counts.framesSent,
      frames_dropped: counts.framesDropped,
    });
  }

  #save(callId: string): void {
    if (this.#closed) return;
    const streams = [...(this.#calls.get(callId)?.streams ?? [])];
    this.#o.running.save(
      callId,
      streams.map(({ sid, url, track, startedAt }) => ({ sid, url, track, startedAt })),
    );
  }
}

/**
 * Whether a stream of the call has ever begun. Ends do not tell which of them are over: they are told of
 * streams that never began, too.
 */
const hadStreams = ({ eventCounts }: Call): boolean => (eventCounts['stream.started'] ?? 0) > 0;

/** A stream as events name it. */
const identity = ({
  sid,
  url,
  track,
}: {
  sid: string;
  url: string;
  track: StreamTrack;
}): Record<string, unknown> => ({ stream_sid: sid, stream_url: withoutSecrets(url), track });

/** The values of a query may be keys and tokens; its names may be told. */
export function withoutSecrets(url: string): string {
  const shown = new URL(url);
  const names = [...new Set(shown.searchParams.keys())];
  shown.search =
    names.length > 0 ? `?${names.map((name) => `${encodeURIComponent(name)}=***`).join('&')}` : '';
  return shown.href;
}
