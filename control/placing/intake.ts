import { ANONYMOUS, isTerminal, UNSEEN, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import { carriedCall, type CallHeaders } from '../lib/call-headers.ts';
import { instanceOf } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import type { Media, ParkedChannel } from '../media/media.ts';
import type { Flows } from '../flow/flows.ts';

interface Options {
  calls: Calls;
  /** Calls as the database has them. */
  stored: { find(id: string): Promise<Call | undefined>; unfinished(): Promise<Call[]> };
  flows: Flows;
  media: Media;
  /** This control process's number. Channels of other owners are theirs. */
  instance: number;
  answerUrlOf: (applicationId: string) => string | undefined;
  /**
   * Looks after the money of a call that is taken over. Resolves with until when it was looked after before,
   * if at all.
   */
  adopt: (call: Call) => Promise<Date | undefined>;
  /** Called when a media node has the call. */
  claim: (callId: string) => void;
  logger: Logger;
  now?: () => Date;
}

/**
 * Brings channels and calls together: a parked channel gets its call's flow, whether the call was decided a
 * moment ago, by an earlier life of this process, or never reached the database; and a call whose channel is
 * nowhere is ended.
 */
export class Intake {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * Takes up the calls an earlier life of this process has left, then all channels that need instructions.
   * @param adopted called in between: the calls are known again and their money is looked after; no channel
   * has been taken yet.
   */
  async start(adopted: () => Promise<void>): Promise<void> {
    const { calls, stored, media, instance, adopt } = this.#options;
    const left = (await stored.unfinished())
      .filter((call) => instanceOf(call.id) === instance)
      .map((call) => calls.adopt(call));
    const knownUntil = await Promise.all(left.map((call) => adopt(call)));
    await adopted();
    media.start((parked) => void this.#take(parked));
    void media.reconciled.then(() => {
      for (const [n, call] of left.entries()) {
        if (call.routeMode !== 'webhook' || isTerminal(call.status)) continue;
        if (!call.providerCallId || !media.mayHave(call.providerCallId)) this.#endUnseen(call, knownUntil[n]);
      }
    });
  }

  async #take(parked: ParkedChannel): Promise<void> {
    const { headers, channel } = parked;
    const { calls, flows, claim, instance, logger } = this.#options;
    if (headers.owner !== String(instance)) return;
    try {
      const call = await this.#callOf(headers, parked.dialog.callId);
      if (!call || isTerminal(call.status)) {
        logger.warn(
          { call: headers['call-id'], uuid: channel.uuid },
          'a media node holds a channel of a call that is over; it is ended',
        );
        await end(parked);
        return;
      }
      const holder = flows.get(call.id)?.channel;
      if (holder && holder.uuid !== channel.uuid) {
        // A node that woke up after Kamailio had given it up and gone to the next one: the caller is there,
        // not here.
        logger.warn(
          { call: call.id, uuid: channel.uuid, holder: holder.uuid },
          'a second media node holds a channel of the same call; it is ended',
        );
        await end(parked);
        return;
      }
      claim(call.id);
      if (call.providerCallId !== channel.uuid) calls.parked(call, channel.uuid, channel.node);
      flows.run(call, parked);
    } catch (error) {
      logger.error(
        { err: error, call: headers['call-id'], uuid: channel.uuid },
        'a parked channel could not be taken',
      );
    }
  }

  /**
   * The call of a channel: from memory, from the database, or rebuilt from what travelled with the INVITE.
   */
  async #callOf(headers: CallHeaders, sipCallId: string): Promise<Call | undefined> {
    const { calls, answerUrlOf, adopt } = this.#options;
    const id = headers['call-id'];
    if (!id) return undefined;
    const known = calls.get(id) ?? (await this.#adopted(id));
    // An outbound call is in the database before it is placed.
    if (known || headers.direction === 'outbound') return known;
    const carried = carriedCall(headers);
    if (!carried) return undefined;
    const rebuilt = calls.createInbound(
      {
        ...carried,
        from: carried.from || ANONYMOUS,
        routeMode: 'webhook',
        routingTarget: carried.applicationId,
        answerUrl: answerUrlOf(carried.applicationId),
        sipCallId,
      },
      { rebuilt: true },
    );
    await adopt(rebuilt);
    return rebuilt;
  }

  async #adopted(id: string): Promise<Call | undefined> {
    const { calls, stored, adopt } = this.#options;
    const found = await stored.find(id);
    if (!found || isTerminal(found.status)) return found;
    const call = calls.adopt(found);
    await adopt(call);
    return call;
  }

  /**
   * It ended while nobody looked: when and how is not known, so the record says so. A call that was held for
   * is not said to have lasted longer than it was paid for.
   */
  #endUnseen(call: Call, knownUntil: Date | undefined): void {
    const { calls, now = () => new Date() } = this.#options;
    calls.note(call, 'call.ended_unseen', { message: 'the call ended while the control plane was away' });
    const failure =
      call.direction === 'outbound' && !call.answeredAt
        ? ({
            code: 'internal_error',
            message: 'the control plane was away while the call was placed',
          } as const)
        : undefined;
    const at = knownUntil && knownUntil < now() ? knownUntil : undefined;
    calls.end(call, { hangup: { by: 'platform', cause: UNSEEN }, failure, ...(at && { at }) });
  }
}

/** Ends a channel that nobody wants. */
const end = ({ channel, headers }: ParkedChannel): Promise<void> =>
  channel.answered
    ? channel.hangup('NORMAL_CLEARING')
    : headers.direction === 'outbound'
      ? channel.hangup('ORIGINATOR_CANCEL')
      : channel.refuse(480);
