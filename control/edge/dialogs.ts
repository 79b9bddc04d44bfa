import { isTerminal, UNSEEN, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Logger } from '../lib/logger.ts';
import { inboundRtpIdOf } from '../lib/rtp-id.ts';
import { NODE_LOST } from '../media/media.ts';
import type { CallEnder } from './call-ender.ts';
import { dialogsOf, endDialog, undecided, upSince, type Dialog, type Rpc } from './dialog.ts';

interface Options {
  rpcs: readonly Rpc[];
  calls: Calls;
  ender: Pick<CallEnder, 'tryToEnd'>;
  /**
   * Whether rtpengine has audio of a call; undefined where it cannot say: it is away, or was not up all the
   * while.
   */
  audio: { knows(rtpId: string, since: Date): Promise<boolean | undefined> };
  /** Whether a call to this number costs its owner something, and this is the process that Kamailio asks. */
  isPaid: (number: string) => boolean;
  logger: Logger;
  now?: () => Date;
}

const SWEEP_MS = 20_000;
/** A call so young may not be in Kamailio's memory yet: its decision is on the way. */
const GRACE_MS = 10_000;
/** Calls looked at, or ended, at once. */
const PARALLEL = 12;
/**
 * What a media node has left is tried to be ended after so long, and then after twice as long, up to the
 * longest.
 */
const FIRST_MS = 500;
const LONGEST_MS = 10_000;
/** A far end that has not answered a BYE for so long is given up. */
const GIVE_UP_MS = 30 * 60_000;

/** What Kamailio says of a call. */
type Held = { dialogs: readonly Dialog[]; certain: boolean };

/**
 * Brings books and wire together where one of them was away: ends what is left of calls whose media node has
 * died, and finds out about relayed calls whose answer or end was told to nobody.
 */
export class Dialogs {
  readonly #options: Options;
  readonly #now: () => Date;
  #timer: NodeJS.Timeout | undefined;
  /** Calls whose media node is gone, and since when. */
  readonly #forsaken = new Map<string, { call: Call; since: number }>();
  #forsaking: 'now' | NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    this.#now = options.now ?? ((): Date => new Date());
    options.calls.lifecycle.afterEnd('dialogs', (call) => {
      if (call.routeMode === 'webhook' && (call.hangup?.cause === NODE_LOST || call.hangup?.cause === UNSEEN))
        this.forsake(call);
    });
  }

  /** Calls whose media node is gone, and of which something may be left, for a gauge. */
  get forsaken(): number {
    return this.#forsaken.size;
  }

  /**
   * Looks at once, since what Kamailio told while nobody listened is not told again, and then now and then.
   */
  start(): void {
    const tick = (): void => {
      if (!this.#stopped) this.#timer = setTimeout(() => void this.sweep().finally(tick), SWEEP_MS);
    };
    void this.sweep().finally(tick);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#forsaking !== 'now') clearTimeout(this.#forsaking);
  }

  /**
   * The node that held a call is gone and cannot tell the others: the dialogs with them, the second leg's
   * too, are ended.
   */
  forsake(call: Call): void {
    this.#forsaken.set(call.id, { call, since: this.#now().getTime() });
    if (this.#forsaking === 'now') return;
    clearTimeout(this.#forsaking);
    void this.#endForsaken(FIRST_MS);
  }

  /** Once for each of them; what is left of them then, and what has come meanwhile, a little later. */
  async #endForsaken(pauseMs: number): Promise<void> {
    this.#forsaking = 'now';
    const tried = [...this.#forsaken.values()];
    await inParallel(tried, async ({ call, since }) => {
      const { all } = await this.#options.ender.tryToEnd(call);
      const givenUp = this.#now().getTime() - since > GIVE_UP_MS;
      if (!all && givenUp)
        this.#options.logger.error(
          { call: call.id },
          'what a dead media node has left of a call could not be ended, and is given up',
        );
      if (all || givenUp) this.#forsaken.delete(call.id);
    });
    this.#forsaking = undefined;
    if (this.#forsaken.size === 0 || this.#stopped) return;
    const fresh = [...this.#forsaken.values()].some((one) => !tried.includes(one));
    const pause = fresh ? 0 : pauseMs;
    this.#forsaking = setTimeout(
      () => void this.#endForsaken(fresh ? FIRST_MS : Math.min(pauseMs * 2, LONGEST_MS)),
      pause,
    );
  }

  /**
   * Makes up for what was told of relayed calls while nobody listened: that they were answered, or that they
   * have ended.
   */
  async sweep(): Promise<void> {
    await this.#endUnpaid();
    const relayed = this.#relayed();
    if (relayed.length === 0) return;
    const { rpcs, logger } = this.#options;
    const since = await Promise.all(
      rpcs.map((rpc) =>
        upSince(rpc, this.#now).catch((error: unknown) => {
          logger.warn({ err: error, kamailio: rpc.url }, 'a kamailio cannot be asked for its dialogs');
          return undefined;
        }),
      ),
    );
    await inParallel(relayed, async (call) => {
      const held = await this.#heldOf(call, since);
      if (!isTerminal(call.status)) await this.#compare(call, held);
    });
  }

  #relayed(): Call[] {
    return this.#options.calls.live().filter((call) => call.routeMode === 'sip' && !isTerminal(call.status));
  }

  /**
   * What Kamailio has relayed without a decision, and is not in the books, goes on only where it costs
   * nothing.
   */
  async #endUnpaid(): Promise<void> {
    const { rpcs, isPaid, logger } = this.#options;
    for (const rpc of rpcs) {
      const dialogs = await undecided(rpc).catch(() => []);
      const known = this.#relayed();
      for (const dialog of dialogs) {
        const { number, answeredAt, state } = dialog;
        if (
          state !== 'answered' ||
          number === undefined ||
          !isPaid(number) ||
          !answeredAt ||
          this.#now().getTime() - answeredAt.getTime() < GRACE_MS
        )
          continue;
        if (known.some(({ sipCallId, to }) => sipCallId === dialog.sipCallId && to === number)) continue;
        logger.warn(
          { sip_call_id: dialog.sipCallId, to: number, kamailio: rpc.url },
          'a call was relayed without a decision, and nobody pays for it; it is ended',
        );
        await endDialog(rpc, dialog).catch((error: unknown) =>
          logger.warn({ err: error }, 'it could not be ended; it is tried again'),
        );
      }
    }
  }

  /** Not to be listed says something only at a Kamailio that has been up since before the call. */
  async #heldOf(call: Call, since: readonly (Date | undefined)[]): Promise<Held> {
    const lists = await Promise.all(
      this.#options.rpcs.map((rpc, index) =>
        since[index] === undefined ? Promise.resolve(undefined) : dialogsOf(rpc, call).catch(() => undefined),
      ),
    );
    return {
      dialogs: lists.flatMap((list) => list ?? []),
      certain: since.every(
        (date, index) => date !== undefined && date < call.createdAt && lists[index] !== undefined,
      ),
    };
  }

  async #compare(call: Call, { dialogs, certain }: Held): Promise<void> {
    const { calls, audio } = this.#options;
    const [dialog] = dialogs;
    if (dialog) {
      if (!dialog.answeredAt || call.answeredAt) return;
      calls.reachable(call, dialog.farEnds);
      return calls.answered(call, new Date(Math.min(dialog.answeredAt.getTime(), this.#now().getTime())));
    }
    if (this.#now().getTime() - call.createdAt.getTime() <= GRACE_MS) return;
    // Kamailio has forgotten the call, or never had it. While there is audio it goes on; its end is told when
    // a BYE passes.
    if (!certain && (await audio.knows(inboundRtpIdOf(call), call.createdAt)) !== false) return;
    if (isTerminal(call.status)) return;
    calls.note(call, 'call.ended_unseen', { message: 'the call ended while the control plane was away' });
    calls.end(call, { hangup: { by: 'platform', cause: UNSEEN } });
  }
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const next = items.values();
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (const item of next) await work(item);
    }),
  );
}
