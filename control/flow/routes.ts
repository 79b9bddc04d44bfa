import { z } from 'zod';
import { callReply, callToJson } from '../calls/schema.ts';
import type { CallService } from '../calls/service.ts';
import { endpoint, type Endpoint } from '../http/endpoint.ts';
import { ApiError } from '../lib/errors.ts';
import type { Flows } from './flows.ts';
import type { Step } from './action.ts';
import { InvalidActions, parseActions } from './schema.ts';

/** Live control of a call: other actions for the running flow. */
export const flowRoutes = (calls: CallService, flows: Flows): Endpoint[] => [
  endpoint({
    method: 'post', path: '/v1/calls/:id/actions', auth: 'customer', tag: 'Calls', summary: 'Replace what a call does', status: 202,
    description: 'The given actions take the place of what is left of the running flow, at once: a prompt is interrupted.',
    params: z.strictObject({ id: z.string().min(1).max(48) }),
    body: z.looseObject({ actions: z.array(z.unknown()) }),
    reply: callReply, errors: ['call_not_found', 'call_not_active'],
    handle: async ({ params, body, caller }) => {
      const steps = stepsOf(body);
      const call = await calls.get(params.id, { applicationId: caller.applicationId });
      const flow = flows.get(call.id);
      if (!flow || !(await flow.replace(steps))) throw new ApiError('call_not_active');
      return callToJson(call);
    },
  }),
];

function stepsOf(body: unknown): Step[] {
  try {
    return parseActions(body);
  } catch (error) {
    if (error instanceof InvalidActions) throw new ApiError('invalid_request', error.message.slice(0, 400), { details: error.details });
    throw error;
  }
}
