import { endpoint, idParams, type Endpoint } from '../../http/endpoint.ts';
import { listOf, page } from '../../http/pagination.ts';
import {
  importBody,
  importQuery,
  importReply,
  rateCreate,
  ratePatch,
  rateQuery,
  rateReply,
  rateToJson,
} from './schema.ts';
import type { RateService } from './service.ts';

const common = { auth: 'operator', tag: 'Operator: rates' } as const;

export const rateRoutes = (service: RateService): Endpoint[] => [
  endpoint({
    ...common,
    method: 'post',
    path: '/admin/v1/rates',
    summary: 'Add a rate',
    description:
      "Without `customer_id` it goes to the default table. A customer's own rates are looked at first and the default table only where none of them matches; within each the longest active prefix wins. An answered call costs the fee and its time, in whole increments and at least the minimum, rounded up to 0.000001.",
    body: rateCreate,
    status: 201,
    reply: rateReply,
    errors: ['rate_exists'],
    handle: async ({ body }) => rateToJson(await service.create(body)),
  }),
  endpoint({
    ...common,
    method: 'get',
    path: '/admin/v1/rates',
    summary: 'List rates, newest first',
    query: rateQuery,
    status: 200,
    reply: listOf(rateReply),
    handle: ({ query }) => {
      const { customer_id: owner, direction, prefix, currency } = query;
      return page(
        query,
        (limit, before) =>
          service.list(
            { customerId: owner === 'default' ? '' : owner, direction, prefix, currency },
            limit,
            before,
          ),
        rateToJson,
      );
    },
  }),
  endpoint({
    ...common,
    method: 'post',
    path: '/admin/v1/rates/import',
    summary: 'Bring in rates from CSV',
    description:
      'All or nothing: when one line is wrong, nothing changes and `error.details` names the line and the field of everything that is.',
    consumes: 'text/csv',
    query: importQuery,
    body: importBody,
    status: 200,
    reply: importReply,
    handle: ({ query, body }) =>
      service.import(body, { customerId: query.customer_id, dryRun: query.dry_run }),
  }),
  endpoint({
    ...common,
    method: 'patch',
    path: '/admin/v1/rates/:id',
    summary: 'Change a rate',
    description: 'For calls from then on: a call in progress keeps the rate it began with.',
    params: idParams,
    body: ratePatch,
    status: 200,
    reply: rateReply,
    errors: ['not_found', 'rate_exists'],
    handle: async ({ params, body }) => rateToJson(await service.update(params.id, body)),
  }),
  endpoint({
    ...common,
    method: 'delete',
    path: '/admin/v1/rates/:id',
    summary: 'Delete a rate',
    params: idParams,
    status: 204,
    errors: ['not_found'],
    handle: ({ params }) => service.delete(params.id),
  }),
];
