import { z } from 'zod';
import { callReply, callToJson } from '../calls/schema.ts';
import type { OnCall } from '../calls/owners.ts';
import type { CallService } from '../calls/service.ts';
import { endpoint, idParams, type Endpoint } from '../http/endpoint.ts';
import { ApiError } from '../lib/errors.ts';
import type { Step } from '../flow/action.ts';
import { instructions } from '../flow/language.ts';
import { callBody, documentedCallBody, orderOf } from './call-order.ts';
import type { Outbound } from './outbound.ts';
import { InvalidActions, parseActions } from '../flow/schema.ts';

export const actionsBody = z.looseObject({ actions: z.array(z.unknown()) });

interface Rooms {
  calls: CallService;
  outbound: Outbound;
  /** Has other actions take the place of what runs, wherever the call is; false when it is too late. */
  replace: OnCall<z.output<typeof actionsBody>, boolean>;
}

/** Calls to be placed, and live control of what calls do. */
export const flowRoutes = ({ calls, outbound, replace }: Rooms): Endpoint[] => [
  endpoint({
    method: 'post',
    path: '/v1/calls',
    auth: 'customer',
    tag: 'Calls',
    summary: 'Place a call',
    status: 201,
    description:
      'Replies as soon as the call is being dialled; what becomes of it is told by webhooks. Money for its first minute is held before.',
    body: callBody,
    documentedBody: documentedCallBody,
    reply: callReply,
    errors: [
      'rate_not_found',
      'no_active_trunk',
      'insufficient_balance',
      'spend_control_exceeded',
      'cps_limit_reached',
      'concurrent_call_limit_reached',
      'originate_failed',
      'service_unavailable',
    ],
    handle: async ({ body, caller }) => {
      const steps = body.actions && stepsOf({ actions: body.actions });
      return callToJson(await outbound.place(orderOf(caller, body, steps)));
    },
  }),
  endpoint({
    method: 'post',
    path: '/v1/calls/:id/actions',
    auth: 'customer',
    tag: 'Calls',
    summary: 'Replace what a call does',
    status: 202,
    description:
      'The given actions take the place of what is left of the running flow, at once: a prompt is interrupted.',
    params: idParams,
    body: actionsBody,
    documentedBody: instructions,
    reply: callReply,
    errors: ['call_not_found', 'call_not_active', 'service_unavailable'],
    handle: async ({ params, body, caller }) => {
      stepsOf(body);
      const call = await calls.get(params.id, { applicationId: caller.applicationId });
      if (!(await replace(call, body))) throw new ApiError('call_not_active');
      return callToJson(call);
    },
  }),
];

/** @throws ApiError `invalid_request` naming every bad path */
export function stepsOf(body: unknown): Step[] {
  try {
    return parseActions(body);
  } catch (error) {
    if (error instanceof InvalidActions)
      throw new ApiError('invalid_request', error.message.slice(0, 400), { details: error.details });
    throw error;
  }
}
