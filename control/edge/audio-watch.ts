import { ABANDONED, isTerminal, type Call } from '../calls/call.ts';
import type { CallEnding, Calls } from '../calls/calls.ts';
import type { FarEnd } from '../lib/far-end.ts';
import { instanceOf, timeOfId } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import { rtpIdOf } from '../lib/rtp-id.ts';
import {
  isHeld,
  lastPacketOf,
  RtpengineError,
  sidesOf,
  sideTags,
  type Rtpengine,
  type Tags,
} from '../streams/rtpengine.ts';

/** A call's own leg on a media node. */
interface NodeLeg {
  dialog: Readonly<{ callId: string; fromTag: string; toTag: string }>;
  /** Has the node offer the audio of the call anew, and that of its second leg. */
  renegotiate(): Promise<void>;
}

interface Options {
  rtpengine: Pick<Rtpengine, 'look' | 'knows' | 'list' | 'forget'>;
  calls: Pick<Calls, 'live' | 'get' | 'note'>;
  /** Undefined for a call that no media node has. */
  legOf: (callId: string) => NodeLeg | undefined;
  /**
   * Asks sides of a call within their SIP dialog: whether any of them is there; undefined where that cannot
   * be said.
   */
  isThere: (ends: readonly FarEnd[]) => Promise<boolean | undefined>;
  /** Ends a call wherever it is, and its record with it. */
  end: (call: Call, ending: CallEnding) => void;
  /** This control process's number. */
  instance: number;
  logger: Logger;
  now?: () => Date;
}

/** How a call ends whose audio rtpengine has lost, and that nobody could set up anew. */
const MUTE: CallEnding = {
  hangup: { by: 'platform', cause: 'NORMAL_TEMPORARY_FAILURE' },
  failure: { code: 'media_unavailable', message: 'rtpengine has lost the audio of the call' },
};

interface Watched {
  /** In ms: when it is looked at next. */
  nextAt: number;
  /**
   * When the last packet came, by rtpengine's clock in s, and since when that has not changed, by ours in ms.
   */
  lastPacket: number;
  since: number;
  /** It waits for its look, or is looked at. */
  busy: boolean;
  /** Somebody is being asked whether they are there. */
  asking: boolean;
  /** How often in a row rtpengine has not known it. */
  unknown: number;
}

const TICK_MS = 1000;
/** Between two looks at a call, the first one of which comes so long after its answer. */
const LOOK_MS = 8000;
/**
 * A side that has been silent for so long is asked whether it is there. It has 32 s to answer, and the call's
 * end is due after 60.
 */
const SILENT_MS = 15_000;
/** After so many looks a call that rtpengine does not know, whatever is done about it, is given up. */
const LOST_LOOKS = 4;
/**
 * Looks under way at once, and calls in which somebody is asked: each of these keeps a connection to
 * Kamailio.
 */
const AT_ONCE = 32;
const ASKED_AT_ONCE = 200;
/**
 * Between two looks for what rtpengine has and should not, and how old a call must be to be looked for there.
 */
const LEFT_MS = 30_000;
const LEFT_AGE_MS = 60_000;

/**
 * Watches the audio of answered calls in rtpengine, each every some seconds. A side that sends nothing may be
 * silent, or gone without a BYE: it is asked. A call that rtpengine has lost, since it was restarted, is set
 * up anew.
 */
export class AudioWatch {
  readonly #options: Options;
  readonly #now: () => Date;
  readonly #watched = new Map<string, Watched>();
  readonly #due: { call: Call; watched: Watched }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking = 0;
  #asking = 0;
  #leftAt = 0;

  constructor(options: Options) {
    this.#options = options;
    this.#now = options.now ?? ((): Date => new Date());
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Begins the looks that are due. */
  tick(): void {
    const now = this.#now().getTime();
    const live = this.#options.calls.live();
    for (const call of live) {
      if (call.status !== 'in_progress') continue;
      const watched = this.#watched.get(call.id) ?? this.#watch(call, now);
      if (watched.busy || watched.nextAt > now) continue;
      watched.busy = true;
      this.#due.push({ call, watched });
    }
    this.#work();
    if (this.#watched.size > live.length) this.#forgetEnded();
    if (now < this.#leftAt + LEFT_MS) return;
    this.#leftAt = now;
    void this.#clearLeft();
  }

  #work(): void {
    while (this.#looking < AT_ONCE) {
      const next = this.#due.shift();
      if (!next) return;
      const { call, watched } = next;
      this.#looking++;
      void this.#look(call, watched).finally(() => {
        this.#looking--;
        watched.busy = false;
        watched.nextAt = this.#now().getTime() + LOOK_MS;
        this.#work();
      });
    }
  }

  #watch(call: Call, now: number): Watched {
    const watched = {
      nextAt: (call.answeredAt?.getTime() ?? now) + LOOK_MS,
      lastPacket: 0,
      since: now,
      busy: false,
      asking: false,
      unknown: 0,
    };
    this.#watched.set(call.id, watched);
    return watched;
  }

  #forgetEnded(): void {
    for (const id of this.#watched.keys())
      if (this.#options.calls.get(id)?.status !== 'in_progress') this.#watched.delete(id);
  }

  /** Never rejects. */
  async #look(call: Call, watched: Watched): Promise<void> {
    const { rtpengine, legOf, logger } = this.#options;
    try {
      const leg = legOf(call.id);
      if (call.routeMode === 'webhook' && !leg) return;
      const tags = await rtpengine.look(rtpIdOf(call, leg?.dialog.callId ?? call.sipCallId ?? ''));
      if (tags === undefined || isTerminal(call.status)) return;
      if (tags === 'unknown') return await this.#lost(call, leg, watched);
      if (watched.unknown > 0) this.#options.calls.note(call, 'audio.restored');
      watched.unknown = 0;
      this.#hear(call, leg, tags, watched);
    } catch (error) {
      // One side alone: the answer of a re-INVITE is on its way.
      if (!(error instanceof RtpengineError))
        logger.warn({ err: error, call: call.id }, 'the audio of a call could not be looked at');
    }
  }

  #hear(call: Call, leg: NodeLeg | undefined, tags: Tags, watched: Watched): void {
    const now = this.#now().getTime();
    // The media node has always something to say: of its calls the far end counts.
    const sides = leg ? [sidesOf(tags, leg.dialog, call.direction).far] : sideTags(tags);
    const lastPacket = Math.max(...sides.map((tag) => lastPacketOf(tags, tag)));
    if (lastPacket !== watched.lastPacket || isHeld(tags))
      return void Object.assign(watched, { lastPacket, since: now });
    if (now - watched.since < SILENT_MS || watched.asking || this.#asking >= ASKED_AT_ONCE) return;
    const dialog = leg?.dialog.callId ?? call.sipCallId;
    const ends = (call.farEnds ?? []).filter(({ sipCallId }) => sipCallId === dialog);
    this.#asking++;
    watched.asking = true;
    void this.#ask(call, ends).finally(() => {
      this.#asking--;
      Object.assign(watched, { asking: false, since: this.#now().getTime() });
    });
  }

  /** Never rejects. */
  async #ask(call: Call, ends: readonly FarEnd[]): Promise<void> {
    const { calls, isThere, end } = this.#options;
    const there = ends.length === 0 ? undefined : await isThere(ends);
    if (there !== false || isTerminal(call.status)) return;
    calls.note(call, 'media.timeout', {
      message: 'no audio has come, and nobody answers: everybody is gone without having hung up',
    });
    end(call, { hangup: { by: 'platform', cause: ABANDONED } });
  }

  /**
   * rtpengine has been restarted, or has taken the call for over. The media node can offer it anew; of a
   * relayed call nobody can.
   */
  async #lost(call: Call, leg: NodeLeg | undefined, watched: Watched): Promise<void> {
    const { calls, end, rtpengine } = this.#options;
    // An rtpengine that was there all the while was told that a relayed call is over, and we were not:
    // Kamailio knows.
    if (!leg && (await rtpengine.knows(call.id, call.answeredAt ?? call.createdAt)) === false) return;
    watched.unknown++;
    if (watched.unknown === 1)
      calls.note(call, 'audio.lost', { message: 'rtpengine does not have the audio of the call' });
    if (!leg || watched.unknown > LOST_LOOKS) return end(call, MUTE);
    await leg.renegotiate();
  }

  /**
   * Audio of calls of this process that are over: nobody could tell rtpengine so, since it did not answer
   * then.
   */
  async #clearLeft(): Promise<void> {
    const { rtpengine, calls, instance, logger } = this.#options;
    const old = this.#now().getTime() - LEFT_AGE_MS;
    for (const rtpId of await rtpengine.list()) {
      const callId = CALL_ID.exec(rtpId)?.[0];
      if (callId === undefined || instanceOf(callId) !== instance) continue;
      const call = calls.get(callId);
      if ((call && !isTerminal(call.status)) || (timeOfId(callId)?.getTime() ?? Infinity) > old) continue;
      logger.warn(
        { call: callId, rtp_id: rtpId },
        'rtpengine has the audio of a call that is over; it is ended',
      );
      await rtpengine.forget(rtpId);
    }
  }
}

/** Our id of a call, at the beginning of what rtpengine knows its audio by. */
const CALL_ID = /^call_\d{8}T\d{6}\.\d{9}/;
