import { endpoint, idParams, type Endpoint } from '../http/endpoint.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import { customerCreate, customerPatch, customerReply, toJson } from './schema.ts';
import type { CustomerService } from './service.ts';

const common = { auth: 'operator', tag: 'Operator: customers' } as const;

export const customerRoutes = (service: CustomerService): Endpoint[] => [
  endpoint({
    ...common,
    method: 'post',
    path: '/admin/v1/customers',
    summary: 'Create a customer',
    body: customerCreate,
    status: 201,
    reply: customerReply,
    handle: async ({ body }) => toJson(await service.create(body)),
  }),
  endpoint({
    ...common,
    method: 'get',
    path: '/admin/v1/customers',
    summary: 'List customers, newest first',
    query: pageQuery,
    status: 200,
    reply: listOf(customerReply),
    handle: ({ query }) => page(query, (limit, before) => service.list(limit, before), toJson),
  }),
  endpoint({
    ...common,
    method: 'get',
    path: '/admin/v1/customers/:id',
    summary: 'Read a customer',
    params: idParams,
    status: 200,
    reply: customerReply,
    errors: ['not_found'],
    handle: async ({ params }) => toJson(await service.get(params.id)),
  }),
  endpoint({
    ...common,
    method: 'patch',
    path: '/admin/v1/customers/:id',
    summary: 'Change a customer',
    description: 'Fields inside `limits` and `spend` change one by one; null takes a spend rule away.',
    params: idParams,
    body: customerPatch,
    status: 200,
    reply: customerReply,
    errors: ['not_found'],
    handle: async ({ params, body }) => toJson(await service.update(params.id, body)),
  }),
];
