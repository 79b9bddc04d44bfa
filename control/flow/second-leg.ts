import { z } from 'zod';
import { AUDIO_AWAY, type FailureCode } from '../calls/call.ts';
import type { LegEvent } from '../calls/events.ts';
import { CALL_HEADERS } from '../lib/call-headers.ts';
import type { FarEnd } from '../lib/far-end.ts';
import type { LegWatch, SecondLeg } from '../calls/second-legs.ts';
import { e164 } from '../http/fields.ts';
import { isE164 } from '../lib/e164.ts';
import { ApiError, type ErrorCode } from '../lib/errors.ts';
import { formatMicros } from '../lib/money.ts';
import { isSipTarget } from '../lib/sip-uri.ts';
import { wholeSeconds } from '../lib/time.ts';
import { ChannelGone, MediaError, NO_AUDIO, type LegResult } from '../media/media.ts';
import type { FlowContext, Resumed } from './action.ts';

const destination = z
  .string()
  .max(255)
  .refine(
    (value) => isE164(value) || isSipTarget(value),
    'must be an E.164 number or a SIP URI without headers',
  );

/** What `transfer` and `bridge` take; `to` is an alias of `destination`. */
export const legFields = z
  .strictObject({
    destination: destination
      .optional()
      .describe('an E.164 number with its plus sign, or a SIP URI without headers'),
    to: destination.optional().describe('an alias of `destination`: one of them must be there'),
    from: e164
      .optional()
      .describe(
        "the number that is shown to the destination; without it the caller's, or what the trunk's `caller_id` says",
      ),
    timeout_seconds: z.int().min(5).max(120).default(30).describe('how long it may ring'),
  })
  .refine((fields) => fields.destination !== undefined || fields.to !== undefined, {
    path: ['destination'],
    message: 'is required',
  })
  .refine(
    (fields) =>
      fields.destination === undefined || fields.to === undefined || fields.destination === fields.to,
    { path: ['to'], message: 'is an alias of destination: give one of them' },
  );

export type LegFields = z.infer<typeof legFields>;

/**
 * What became of a second leg; `refused` is there when it was not let out, `failed` when the media node could
 * not dial it.
 */
export type SecondLegResult = LegResult & {
  refused?: { code: FailureCode; message: string };
  failed?: MediaError;
};

/**
 * Rings a second leg and stays with it to its end; a leg that was under way when an earlier process died is
 * seen through.
 */
export async function secondLeg(
  fields: LegFields,
  context: FlowContext,
  resumed?: Resumed,
): Promise<SecondLegResult> {
  return resumed ? seeThrough(fields, context, resumed) : ring(fields, context);
}

/** The cause of a leg that the media node could not dial, or lost. */
const FAILED = 'NORMAL_TEMPORARY_FAILURE';

const destinationOf = ({ destination, to }: LegFields): string => destination ?? to ?? '';

async function ring(fields: LegFields, context: FlowContext): Promise<SecondLegResult> {
  const { call, calls, channel, state, save, legs, signal } = context;
  state.legAnsweredAt = undefined;
  save();
  let leg: SecondLeg | undefined;
  try {
    leg = await legs.place(call, destinationOf(fields), fields.from);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    calls.note(call, 'leg.refused', {
      code: error.code,
      message: error.message,
      ...(error.details && { details: error.details }),
    });
    return {
      reached: false,
      cause: 'OUTGOING_CALL_BARRED',
      refused: { code: FAILURES[error.code] ?? 'transfer_unreachable', message: error.message },
    };
  }
  if (!leg) return { reached: false, cause: 'NO_ROUTE_DESTINATION' };
  if (signal.aborted) {
    leg.ended();
    return { reached: false, cause: 'ORIGINATOR_CANCEL' };
  }
  const story = new LegStory(context, leg, destinationOf(fields));
  calls.note(call, 'leg.requested', { uris: leg.route.uris, from: leg.route.from });
  try {
    const reached = channel.bridge({
      ...leg.route,
      timeoutSeconds: fields.timeout_seconds,
      onRinging: () => story.ringing(),
      onAnswered: (_uuid, farEnd) => story.answered(farEnd),
      onTrunk: (id) => story.routed(id),
    });
    return await story.to(
      reached.then(async (result) => {
        // What was tried comes before what came of it.
        const refused = !result.reached && result.sipCode !== undefined;
        if (refused && leg.route.headers[CALL_HEADERS.trunks] !== undefined)
          await context.tries?.settled(call);
        return result;
      }),
    );
  } catch (error) {
    if (!(error instanceof MediaError) || state.legAnsweredAt !== undefined) throw error;
    return { reached: false, cause: FAILED, failed: error };
  }
}

async function seeThrough(
  fields: LegFields,
  context: FlowContext,
  { leg: found }: Resumed,
): Promise<SecondLegResult> {
  const { call, state, legs } = context;
  if (!found)
    return {
      reached: state.legAnsweredAt !== undefined,
      cause: 'UNKNOWN',
      ...(state.legAnsweredAt !== undefined && { endedBy: 'callee' }),
    };
  const story = new LegStory(context, legs.resumed(call), destinationOf(fields));
  if (found.trunkId !== undefined) story.routed(found.trunkId);
  if (found.connected) story.answered();
  else
    found.answered.then(
      (reached) => {
        if (reached) story.answered();
      },
      () => undefined,
    );
  return story.to(found.finished);
}

/** What becomes of one second leg, told to its watch and to the application. */
class LegStory {
  readonly #context: FlowContext;
  readonly #leg: LegWatch;
  readonly #destination: string;
  #trunkId: string | undefined;

  constructor(context: FlowContext, leg: LegWatch, destination: string) {
    this.#context = context;
    this.#leg = leg;
    this.#destination = destination;
  }

  routed(trunkId: string): void {
    this.#trunkId = trunkId;
    this.#leg.routed(trunkId);
  }

  ringing(): void {
    this.#tell('leg.ringing', {});
  }

  /** @param farEnd what it takes to end the leg without its media node */
  answered(farEnd?: FarEnd): void {
    const { call, calls, state, save, now } = this.#context;
    if (farEnd) calls.reachable(call, [farEnd]);
    const first = state.legAnsweredAt === undefined;
    state.legAnsweredAt ??= now().getTime();
    this.#leg.answered(new Date(state.legAnsweredAt));
    if (!first) return;
    save();
    this.#tell('leg.answered', {});
  }

  /**
   * Waits for the end of the leg, and tells it: also where the caller's channel has ended, and with it the
   * leg.
   */
  async to(finished: Promise<LegResult>): Promise<SecondLegResult> {
    try {
      const told = await finished;
      // What Kamailio says is no answer of the destination's.
      const noAudio = !told.reached && told.sipCode === NO_AUDIO;
      const result: SecondLegResult = noAudio
        ? { reached: false, cause: told.cause, refused: AUDIO_AWAY }
        : told;
      this.#ended(result.reached, result.cause, { sip_code: result.sipCode, ended_by: result.endedBy });
      return result;
    } catch (error) {
      const reached = this.#context.state.legAnsweredAt !== undefined;
      const gone = error instanceof ChannelGone;
      if (error instanceof MediaError)
        this.#context.calls.note(this.#context.call, 'leg.failed', { message: error.message });
      const cause = !gone ? FAILED : reached ? 'NORMAL_CLEARING' : 'ORIGINATOR_CANCEL';
      this.#ended(reached, cause, reached ? { ended_by: gone ? 'caller' : 'platform' } : {});
      throw error;
    }
  }

  #ended(
    reached: boolean,
    cause: string,
    more: { sip_code?: number | undefined; ended_by?: string | undefined },
  ): void {
    const { state, now } = this.#context;
    const answeredAt =
      reached && state.legAnsweredAt !== undefined ? new Date(state.legAnsweredAt) : undefined;
    const cost = this.#leg.ended();
    this.#tell('leg.ended', {
      reached,
      cause,
      ...more,
      billsec_seconds: wholeSeconds(answeredAt, now()),
      ...(cost && { cost_amount: formatMicros(cost.amountMicros), cost_currency: cost.currency }),
    });
  }

  #tell(event: LegEvent, data: Record<string, unknown>): void {
    const { call, calls } = this.#context;
    const known = Object.entries({ destination: this.#destination, trunk_id: this.#trunkId, ...data }).filter(
      ([, value]) => value !== undefined,
    );
    calls.leg(call, event, Object.fromEntries(known));
  }
}

/** How a call ends when its transfer was not let out; otherwise the destination just was not reached. */
const FAILURES: Partial<Record<ErrorCode, FailureCode>> = {
  insufficient_balance: 'insufficient_balance',
  spend_control_exceeded: 'limit_reached',
  cps_limit_reached: 'limit_reached',
  concurrent_call_limit_reached: 'limit_reached',
};
