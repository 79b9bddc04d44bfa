import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { Call as MiniVoiceCall } from '../calls/call.ts';
import { deferred } from '../lib/deferred.ts';
import { rtpIdOf } from '../lib/rtp-id.ts';
import type { ParkedChannel } from '../media/media.ts';
import { Playback } from './playback.ts';
import { RtpengineError, sidesOf, type Rtpengine } from './rtpengine.ts';
import { parseRtp } from './rtp.ts';
import { Track } from './track.ts';
import { Voice } from './voice.ts';

export type Side = 'inbound' | 'outbound';

export interface CallAudioOptions {
  rtpengine: Rtpengine;
  call: AudioOf;
  dialog: ParkedChannel['dialog'];
  /** Where rtpengine sends audio to: an address of ours, and the ports that may be used. */
  host: string;
  ports: { first: number; last: number };
  /** The call is over: nothing is waited for any more. */
  over: () => boolean;
  /** What receivers say cannot be played. */
  onVoiceFailed: (error: unknown) => void;
}

/** What of a call of ours its audio is found by. */
type AudioOf = Pick<MiniVoiceCall, 'id' | 'direction'>;

type Call = Awaited<ReturnType<Rtpengine['find']>> & { node: string; far: string };

/**
 * Our participants of a call at rtpengine. The names are the same in every life of this process, so that a
 * later one takes them over.
 */
const TAG = { inbound: 'minivoice-inbound', outbound: 'minivoice-outbound', voice: 'minivoice-voice' };

/**
 * The answer is waited for so long, in ms: Kamailio may have to ask rtpengine again, or the carrier brings it
 * in its ACK.
 */
const ANSWER_MS = 3000;
const ASK_AGAIN_MS = 20;

/** Ports that are taken by calls of this process. */
const taken = new Set<number>();

/**
 * The audio of one call, copied by rtpengine at the edge and independent of what its media node is doing:
 * `inbound` is what the caller says, `outbound` what the caller hears. One UDP port serves both, and the way
 * back to the caller.
 */
export class CallAudio {
  readonly #socket: Socket;
  readonly #call: Call;
  /** By the port of rtpengine's that the audio comes from. */
  readonly #tracks = new Map<number, Track>();
  readonly #sides = new Map<Side, Promise<Track>>();
  readonly #open = new Map<Side, Track>();
  readonly #playbacks = new Set<Playback>();
  readonly #voice: Voice;
  #connecting: Promise<number> | undefined;
  #voicePort: number | undefined;
  /** rtpengine's address as its packets show it; what its SDP says may be for the outside. */
  #peer: string | undefined;

  private constructor({ onVoiceFailed }: CallAudioOptions, socket: Socket, call: Call) {
    this.#socket = socket;
    this.#call = call;
    this.#voice = new Voice({
      connect: async () => {
        this.#voicePort = await (this.#connecting ??= this.#connect());
      },
      block: async (blocked) =>
        void (await call.ask({
          command: blocked ? 'block media' : 'unblock media',
          'from-tag': call.node,
          flags: ['directional'],
        })),
      send: (packet) => {
        if (this.#peer !== undefined && this.#voicePort !== undefined)
          socket.send(packet, this.#voicePort, this.#peer, () => undefined);
      },
      failed: (error) => {
        this.#connecting = undefined;
        onVoiceFailed(error);
      },
    });
    socket.on('message', (datagram, from) => this.#receive(datagram, from));
    socket.on('error', () => undefined);
  }

  /** @throws RtpengineError when rtpengine does not have the call and its answer, or no port is free. */
  static async open(options: CallAudioOptions): Promise<CallAudio> {
    const call = await answered(options);
    return new CallAudio(options, await bind(options.host, options.ports), call);
  }

  /**
   * Ends what an earlier life of this process may have left: copies to nobody, and a media node that the
   * caller cannot hear. Never rejects.
   */
  static async release(rtpengine: Rtpengine, call: AudioOf, dialog: ParkedChannel['dialog']): Promise<void> {
    try {
      const { ask, tags } = await rtpengine.find(rtpIdOf(call, dialog.callId));
      const { node, far } = sidesOf(tags, dialog, call.direction);
      await Promise.allSettled([
        ask({ command: 'unblock media', 'from-tag': node, flags: ['directional'] }),
        ...(tags[TAG.voice]
          ? [ask({ command: 'unsubscribe', 'from-tag': TAG.voice, 'to-tag': far, flags: ['directional'] })]
          : []),
        ...[TAG.inbound, TAG.outbound]
          .filter((tag) => tags[tag])
          .map((tag) => ask({ command: 'unsubscribe', 'to-tag': tag })),
      ]);
    } catch {
      // Then there is nothing to end, or nobody to ask.
    }
  }

  /** Has one side of the call copied to us. @throws RtpengineError */
  async listen(side: Side): Promise<void> {
    let track = this.#sides.get(side);
    if (!track) {
      track = this.#subscribe(side);
      this.#sides.set(side, track);
      track.catch(() => this.#sides.delete(side));
    }
    this.#open.set(side, await track);
  }

  /** A queue whose audio the caller hears, until it is given back. */
  speak(): Playback {
    const playback = new Playback();
    this.#playbacks.add(playback);
    return playback;
  }

  hush(playback: Playback): void {
    playback.clear();
    this.#playbacks.delete(playback);
  }

  /** Every 20 ms: the next frame of each side that is listened to, and a frame to the caller. */
  tick(): Partial<Record<Side, Buffer>> {
    const wanting = [...this.#playbacks].filter((playback) => playback.length > 0);
    if (wanting.length > 0) this.#voice.want();
    const said = this.#voice.taking ? [...this.#playbacks].flatMap((playback) => playback.take() ?? []) : [];
    const heard = this.#voice.tick(said);
    return Object.fromEntries(
      [...this.#open].map(([side, track]) => {
        const frame = track.take();
        return [side, side === 'outbound' ? (heard ?? frame) : frame];
      }),
    );
  }

  /**
   * Gives back what rtpengine holds for us, the port too. Never rejects; what cannot be given back ends with
   * the call.
   */
  async close(): Promise<void> {
    this.#voice.close();
    const { ask, node, far } = this.#call;
    const undo: Parameters<typeof ask>[0][] = [...this.#sides.keys()].map((side) => ({
      command: 'unsubscribe',
      'to-tag': TAG[side],
    }));
    if (this.#connecting) {
      undo.push({ command: 'unblock media', 'from-tag': node, flags: ['directional'] });
      undo.push({ command: 'unsubscribe', 'from-tag': TAG.voice, 'to-tag': far, flags: ['directional'] });
    }
    await Promise.allSettled(undo.map((body) => ask(body)));
    taken.delete(this.#socket.address().port);
    this.#socket.close();
  }

  async #subscribe(side: Side): Promise<Track> {
    const { ask, node, far } = this.#call;
    const tags = { 'from-tag': side === 'inbound' ? far : node, 'to-tag': TAG[side] };
    const { sdp } = await ask({ command: 'subscribe request', ...tags, codec: { transcode: ['PCMU'] } });
    const { port, formats } = audioOf(sdp);
    const track = new Track();
    this.#tracks.set(port, track);
    // G.711 comes as it is; only what is neither of its laws is transcoded.
    const known = formats.filter((format) => RTPMAP[format] !== undefined);
    const answer = this.#sdp(known.length > 0 ? known : ['0'], 'recvonly');
    await ask({
      command: 'subscribe answer',
      'to-tag': TAG[side],
      sdp: answer,
      flags: ['allow transcoding'],
    });
    return track;
  }

  async #connect(): Promise<number> {
    const { ask, far } = this.#call;
    const { sdp } = await ask({
      command: 'publish',
      'from-tag': TAG.voice,
      sdp: this.#sdp(['0'], 'sendonly'),
    });
    await ask({ command: 'connect', 'from-tag': TAG.voice, 'to-tag': far, flags: ['directional'] });
    return audioOf(sdp).port;
  }

  #sdp(formats: readonly string[], direction: 'recvonly' | 'sendonly'): string {
    const { address, port } = this.#socket.address();
    return [
      'v=0',
      `o=- 1 1 IN IP4 ${address}`,
      's=MiniVoice',
      `c=IN IP4 ${address}`,
      't=0 0',
      `m=audio ${port} RTP/AVP ${formats.join(' ')}`,
      ...formats.map((format) => `a=rtpmap:${format} ${RTPMAP[format] ?? ''}`),
      'a=ptime:20',
      `a=${direction}`,
      '',
    ].join('\r\n');
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    const track = this.#tracks.get(from.port);
    if (!track || (this.#peer !== undefined && this.#peer !== from.address)) return;
    const packet = parseRtp(datagram);
    if (!packet) return;
    this.#peer = from.address;
    track.push(packet);
  }
}

const RTPMAP: Readonly<Record<string, string>> = { '0': 'PCMU/8000', '8': 'PCMA/8000' };

function audioOf(sdp: unknown): { port: number; formats: string[] } {
  const found = typeof sdp === 'string' ? /^m=audio (\d+) \S+ (.*?)\r?$/m.exec(sdp) : null;
  if (!found) throw new RtpengineError('rtpengine has offered no audio');
  return { port: Number(found[1]), formats: (found[2] ?? '').split(' ') };
}

/**
 * The call with both its sides. The media node tells us of its answer before that has gone through Kamailio
 * to rtpengine.
 * @throws RtpengineError
 */
async function answered({ rtpengine, call, dialog, over }: CallAudioOptions): Promise<Call> {
  for (const deadline = Date.now() + ANSWER_MS; ;) {
    const found = await rtpengine.find(rtpIdOf(call, dialog.callId));
    try {
      return { ...found, ...sidesOf(found.tags, dialog, call.direction) };
    } catch (error) {
      if (over() || Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, ASK_AGAIN_MS);
    });
  }
}

/** A socket on a free port of the range. Even ones, so that RTCP, which goes one above, comes to nobody. */
async function bind(address: string, { first, last }: { first: number; last: number }): Promise<Socket> {
  const even = Math.ceil(first / 2) * 2;
  const count = Math.floor((last - even) / 2) + 1;
  const start = Math.floor(Math.random() * count);
  for (let i = 0; i < count; i++) {
    const port = even + 2 * ((start + i) % count);
    if (taken.has(port)) continue;
    taken.add(port);
    const bound = deferred<boolean>();
    const socket = createSocket('udp4');
    socket.once('error', () => bound.resolve(false));
    socket.bind({ port, address, exclusive: true }, () => bound.resolve(true));
    if (await bound.promise) return socket;
    taken.delete(port);
    socket.close();
  }
  throw new RtpengineError(`no port from ${first} to ${last} is free`);
}
