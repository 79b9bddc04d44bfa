import { randomUUID } from 'node:crypto';
import type { Application } from '../applications/schema.ts';
import type { Admission } from '../calls/admission.ts';
import { isTerminal, type Call } from '../calls/call.ts';
import type { Calls } from '../calls/calls.ts';
import type { Ways } from '../calls/second-legs.ts';
import { invalid } from '../http/endpoint.ts';
import { CALL_HEADERS } from '../lib/call-headers.ts';
import { ApiError } from '../lib/errors.ts';
import { checkUrl, FetchError } from '../lib/guarded-url.ts';
import type { Ids } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import { TookTooLong, within } from '../lib/within.ts';
import { MediaError, NodeSilent, type Dialing, type Media } from '../media/media.ts';
import type { Step } from '../flow/action.ts';
import type { Flows } from '../flow/flows.ts';

/** A call that a customer wants to be placed. */
export interface CallOrder {
  customerId: string;
  applicationId: string;
  /** E.164, as `to`. */
  from: string;
  to: string;
  metadata: Record<string, unknown>;
  recordFromAnswer?: boolean;
  /** In place of the application's. */
  answerUrl?: string | undefined;
  /** In place of an answer_url: `{"actions": […]}`, valid. */
  actions?: string | undefined;
  /** The same, as parsed. */
  steps?: Step[] | undefined;
  ringSeconds: number;
  maxDurationSeconds?: number | undefined;
  trunkId?: string | undefined;
}

interface Options {
  ids: Ids;
  calls: Calls;
  admission: Admission;
  ways: Pick<Ways, 'via'>;
  flows: Pick<Flows, 'expect' | 'run'>;
  media: Pick<Media, 'originate'>;
  applicationOf: (id: string) => Application | undefined;
  /** Whether any call can have audio. */
  audioAvailable: () => boolean;
  /** Sees to it that a node which has not answered in time does not dial this call later. */
  forbid: (callId: string) => Promise<void>;
  /** The development profile: an answer_url may be a private address. */
  allowPrivate: boolean;
  /** This control process's number: the channel is its own. */
  instance: number;
  logger: Logger;
}

/** How long the database may take to hold money for a call, and then to store it, before it is given up. */
const PATIENCE_MS = 5000;

const away = (message: string): ApiError => new ApiError('service_unavailable', message, { retryAfter: 2 });

/** Places calls: lets them out, dials, and gives them their flow. */
export class Outbound {
  readonly #options: Options;
  #draining = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /** From now on no call is placed, so that others do while this process ends. */
  drain(): void {
    this.#draining = true;
  }

  /**
   * Resolves when a media node dials. A call that is refused before a node is asked has never been: nothing
   * of it is told or stays in the database. One that no node dials (`originate_failed`) is told of as failed.
   * @returns the call as it was when it was placed, `dialing`, however far it has got since
   * @throws ApiError as `Admission.admit`; invalid_request, service_unavailable, internal_error,
   * originate_failed
   */
  async place(order: CallOrder): Promise<Call> {
    const { ids, calls, admission, flows, applicationOf } = this.#options;
    if (this.#draining || !calls.accepting) throw away('no calls are taken right now');
    if (!this.#options.audioAvailable()) throw away('no rtpengine is there for the audio of calls');
    const answerUrl =
      order.actions === undefined ? this.#answerUrl(order, applicationOf(order.applicationId)) : undefined;
    const { customerId, applicationId, from, to, metadata, recordFromAnswer, actions, maxDurationSeconds } =
      order;
    const id = ids.next('call');
    const admitted = admission.admit({
      callId: id,
      leg: 0,
      customerId,
      applicationId,
      number: to,
      trunkId: order.trunkId,
    });
    const trunks = await within(PATIENCE_MS, admitted).catch((error: unknown) => {
      if (!(error instanceof TookTooLong)) throw error;
      // Nobody waits for this call any more when it is let out.
      admitted.then(
        () => admission.giveBack(id, 0),
        () => undefined,
      );
      throw away('no money can be held for calls right now');
    });
    const { call, stored } = calls.createOutbound({
      id,
      customerId,
      applicationId,
      from,
      to,
      metadata,
      recordFromAnswer,
      answerUrl,
      actions,
      maxDurationSeconds,
      trunkId: trunks[0]?.id,
      providerCallId: randomUUID(),
    });
    const placed = { ...call };
    flows.expect(call, order.steps);
    // Whatever becomes of this process, there is a record of what it has dialled.
    await within(PATIENCE_MS, stored).catch((error: unknown) => {
      admission.giveBack(call.id, 0);
      calls.discard(call);
      throw error instanceof TookTooLong
        ? away('calls cannot be stored right now')
        : new ApiError('internal_error');
    });
    calls.created(call);
    if (!isTerminal(call.status))
      await this.#dial(call, this.#options.ways.via(trunks, call, to), order.ringSeconds);
    return placed;
  }

  async #dial(
    call: Call,
    { uris, from, headers }: ReturnType<Ways['via']>,
    ringSeconds: number,
  ): Promise<void> {
    const { calls, flows, media, instance, logger } = this.#options;
    let dialing: Dialing;
    try {
      dialing = await media.originate({
        uuid: call.providerCallId ?? '',
        uris,
        from,
        ringSeconds,
        headers: {
          ...headers,
          [CALL_HEADERS.owner]: String(instance),
          [CALL_HEADERS.direction]: 'outbound',
        },
      });
    } catch (error) {
      if (error instanceof NodeSilent) await this.#options.forbid(call.id);
      if (!(error instanceof MediaError))
        logger.error({ err: error, call: call.id }, 'a call could not be placed');
      this.#giveUp(call, {
        code: 'media_unavailable',
        message: error instanceof MediaError ? error.message : 'internal error',
      });
      throw new ApiError('originate_failed');
    }
    calls.dialing(call, dialing.parked.channel.node);
    flows.run(call, dialing.parked, dialing);
  }

  /** It has not got as far as a media node. */
  #giveUp(call: Call, failure: NonNullable<Call['failure']>): void {
    this.#options.admission.giveBack(call.id, 0);
    this.#options.calls.end(call, { hangup: { by: 'platform', cause: 'NORMAL_TEMPORARY_FAILURE' }, failure });
  }

  #answerUrl({ answerUrl }: CallOrder, application: Application | undefined): string {
    if (answerUrl === undefined) {
      if (application?.answerUrl === undefined)
        throw invalid('answer_url', 'is required: the application has none, and no actions are given');
      return application.answerUrl;
    }
    try {
      checkUrl(answerUrl, { allowPrivate: this.#options.allowPrivate });
      return answerUrl;
    } catch (error) {
      throw error instanceof FetchError ? invalid('answer_url', `cannot be used: ${error.message}`) : error;
    }
  }
}
