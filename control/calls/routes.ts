import { endpoint, idParams, type CustomerCaller, type Endpoint } from '../http/endpoint.ts';
import { listOf, page } from '../http/pagination.ts';
import { callQuery, callReply, callToJson, timelineReply, timelineToJson } from './schema.ts';
import type { CallService } from './service.ts';

const TAG = 'Calls';

/** What customers do with their application's calls, and the operator with all. */
export function callRoutes(service: CallService): Endpoint[] {
  const own = (caller: CustomerCaller) => ({ applicationId: caller.applicationId });
  return [
    endpoint({
      method: 'get',
      path: '/v1/calls',
      auth: 'customer',
      tag: TAG,
      summary: 'List calls',
      status: 200,
      query: callQuery,
      reply: listOf(callReply),
      handle: ({ query, caller }) =>
        page(query, (limit, before) => service.list({ ...query, ...own(caller) }, limit, before), callToJson),
    }),
    endpoint({
      method: 'get',
      path: '/v1/calls/:id',
      auth: 'customer',
      tag: TAG,
      summary: 'Read a call',
      status: 200,
      params: idParams,
      reply: callReply,
      errors: ['call_not_found'],
      handle: async ({ params, caller }) => callToJson(await service.get(params.id, own(caller))),
    }),
    endpoint({
      method: 'get',
      path: '/v1/calls/:id/events',
      auth: 'customer',
      tag: TAG,
      summary: 'Read the whole story of a call',
      status: 200,
      description:
        'SIP milestones, every answer_url request and reply, each action, each webhook attempt, in order of time.',
      params: idParams,
      reply: listOf(timelineReply),
      errors: ['call_not_found'],
      handle: async ({ params, caller }) => asList(await service.timeline(params.id, own(caller))),
    }),
    endpoint({
      method: 'post',
      path: '/v1/calls/:id/hangup',
      auth: 'customer',
      tag: TAG,
      summary: 'Hang up a call',
      status: 202,
      description: 'Before it is answered the call ends `canceled`, after it `completed`.',
      params: idParams,
      reply: callReply,
      errors: ['call_not_found', 'call_not_active', 'service_unavailable'],
      allowSuspendedCustomer: true,
      handle: async ({ params, caller }) => callToJson(await service.hangup(params.id, own(caller))),
    }),
    endpoint({
      method: 'get',
      path: '/admin/v1/calls',
      auth: 'operator',
      tag: TAG,
      summary: "List all customers' calls",
      status: 200,
      query: callQuery,
      reply: listOf(callReply),
      handle: ({ query }) => page(query, (limit, before) => service.list(query, limit, before), callToJson),
    }),
    endpoint({
      method: 'get',
      path: '/admin/v1/calls/:id/events',
      auth: 'operator',
      tag: TAG,
      summary: 'Read the whole story of any call',
      status: 200,
      params: idParams,
      reply: listOf(timelineReply),
      errors: ['call_not_found'],
      handle: async ({ params }) => asList(await service.timeline(params.id, {})),
    }),
    endpoint({
      method: 'post',
      path: '/admin/v1/calls/:id/hangup',
      auth: 'operator',
      tag: TAG,
      summary: 'Hang up any call',
      status: 202,
      params: idParams,
      reply: callReply,
      errors: ['call_not_found', 'call_not_active', 'service_unavailable'],
      handle: async ({ params }) => callToJson(await service.hangup(params.id, {})),
    }),
  ];
}

const asList = (entries: Parameters<typeof timelineToJson>[0][]) => ({
  count: entries.length,
  data: entries.map(timelineToJson),
});
