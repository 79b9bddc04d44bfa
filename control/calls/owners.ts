import { z } from 'zod';
import { ApiError } from '../lib/errors.ts';
import { instanceOf } from '../lib/ids.ts';
import type { Peers } from '../lib/peers.ts';
import type { Call } from './call.ts';
import type { Calls } from './calls.ts';

interface Options {
  calls: Pick<Calls, 'get'>;
  peers: Pick<Peers, 'ask' | 'answer'>;
  /** This control process's number. */
  instance: number;
}

const Request = z.object({ call: z.string(), body: z.unknown() });

/** What can be done to a call, wherever it is. */
export type OnCall<B, R> = (call: Call, body: B) => Promise<R>;

/**
 * A call in progress is in the care of the control process whose number is in its id: that one has its flow
 * and its channel. Any other has it do what it is asked to do to the call.
 */
export class CallOwners {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * Makes of what this process can do to its own calls what can be done to every call. Both ways it throws
   * what `work` throws, and `call_not_active` for a call that its owner does not have any more; for another's
   * call also `service_unavailable` when that process is away or does not answer within `timeoutMs`.
   * @param body,reply what goes over and comes back, as JSON
   */
  everywhere<B extends z.ZodType, R extends z.ZodType>(
    kind: string,
    { body, reply, timeoutMs }: { body: B; reply: R; timeoutMs?: number },
    work: OnCall<z.output<B>, z.output<R>>,
  ): OnCall<z.output<B>, z.output<R>> {
    const { calls, peers, instance } = this.#options;
    const here = async (id: string, given: z.output<B>): Promise<z.output<R>> => {
      const call = calls.get(id);
      if (!call) throw new ApiError('call_not_active');
      return work(call, given);
    };
    peers.answer(kind, async (request) => {
      const { call, body: given } = Request.parse(request);
      return here(call, body.parse(given));
    });
    return async (call, given) => {
      const owner = instanceOf(call.id);
      if (owner === instance || calls.get(call.id)) return here(call.id, given);
      return reply.parse(await peers.ask(owner, kind, { call: call.id, body: given }, timeoutMs));
    };
  }
}
