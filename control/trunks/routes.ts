import { endpoint, idField, idParams, type Endpoint } from '../http/endpoint.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import { toJson, trunkAdminCreate, trunkCreate, trunkPatch, trunkReply } from './schema.ts';
import type { TrunkService } from './service.ts';

const common = { auth: 'customer', tag: 'Trunks' } as const;
const operator = { auth: 'operator', tag: 'Operator: trunks' } as const;

export const trunkRoutes = (service: TrunkService): Endpoint[] => [
  endpoint({
    ...common, method: 'post', path: '/v1/trunks', summary: 'Connect a carrier of your own',
    body: trunkCreate, status: 201, reply: trunkReply, errors: ['gateway_name_exists', 'inbound_ip_exists'],
    handle: async ({ body, caller }) => toJson(await service.create(caller, body)),
  }),
  endpoint({
    ...common, method: 'get', path: '/v1/trunks', summary: 'List the trunks of the customer, newest first',
    query: pageQuery, status: 200, reply: listOf(trunkReply),
    handle: ({ query, caller }) => page(query, (limit, before) => service.list({ customerId: caller.customerId }, limit, before), toJson),
  }),
  endpoint({
    ...common, method: 'get', path: '/v1/trunks/:id', summary: 'Read a trunk',
    params: idParams, status: 200, reply: trunkReply, errors: ['not_found'],
    handle: async ({ params, caller }) => toJson(await service.get(caller, params.id)),
  }),
  endpoint({
    ...common, method: 'patch', path: '/v1/trunks/:id', summary: 'Change a trunk',
    params: idParams, body: trunkPatch, status: 200, reply: trunkReply, errors: ['not_found', 'gateway_name_exists', 'inbound_ip_exists'],
    handle: async ({ params, body, caller }) => toJson(await service.update(caller, params.id, body)),
  }),
  endpoint({
    ...common, method: 'delete', path: '/v1/trunks/:id', summary: 'Remove a trunk',
    params: idParams, status: 204, errors: ['not_found'],
    handle: ({ params, caller }) => service.delete(caller, params.id),
  }),
  endpoint({
    ...operator, method: 'post', path: '/admin/v1/trunks', summary: 'Connect a carrier',
    body: trunkAdminCreate, status: 201, reply: trunkReply, errors: ['gateway_name_exists', 'inbound_ip_exists'],
    handle: async ({ body }) => toJson(await service.create('operator', body)),
  }),
  endpoint({
    ...operator, method: 'get', path: '/admin/v1/trunks', summary: 'List trunks, newest first',
    query: pageQuery.extend({ customer_id: idField.optional() }), status: 200, reply: listOf(trunkReply),
    handle: ({ query }) => page(query, (limit, before) => service.list({ customerId: query.customer_id }, limit, before), toJson),
  }),
  endpoint({
    ...operator, method: 'get', path: '/admin/v1/trunks/:id', summary: 'Read a trunk',
    params: idParams, status: 200, reply: trunkReply, errors: ['not_found'],
    handle: async ({ params }) => toJson(await service.get('operator', params.id)),
  }),
  endpoint({
    ...operator, method: 'patch', path: '/admin/v1/trunks/:id', summary: 'Change a trunk',
    params: idParams, body: trunkPatch, status: 200, reply: trunkReply, errors: ['not_found', 'gateway_name_exists', 'inbound_ip_exists'],
    handle: async ({ params, body }) => toJson(await service.update('operator', params.id, body)),
  }),
  endpoint({
    ...operator, method: 'delete', path: '/admin/v1/trunks/:id', summary: 'Remove a trunk',
    params: idParams, status: 204, errors: ['not_found'],
    handle: ({ params }) => service.delete('operator', params.id),
  }),
];
