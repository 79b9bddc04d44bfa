import { z } from 'zod';
import { endpoint, idField, idParams, type Endpoint } from '../http/endpoint.ts';
import { numberIn } from '../http/fields.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import { didAdminPatch, didCreate, didPatch, didReply, toJson } from './schema.ts';
import type { BulkResult, DidService } from './service.ts';

const common = { auth: 'customer', tag: 'DIDs' } as const;
const operator = { auth: 'operator', tag: 'Operator: DIDs' } as const;

const bulkCreate = z.strictObject({
  dids: z.array(z.unknown()).min(1).max(1000),
});

/** Each number is checked by itself, so that one that is not valid is told of beside those that are made. */
const documentedBulkCreate = bulkCreate
  .extend({ dids: z.array(didCreate).min(1).max(1000) })
  .meta({ id: 'DidBulkCreate' });

const bulkReply = z
  .strictObject({
    count: z.int(),
    created: z.int(),
    failed: z.int(),
    data: z
      .array(
        z.strictObject({
          did: didReply.optional(),
          error: z
            .strictObject({
              code: z.string(),
              message: z.string(),
              details: z.array(z.strictObject({ path: z.string(), message: z.string() })).optional(),
            })
            .optional(),
        }),
      )
      .describe('in the order of the request: what was created, or why not'),
  })
  .meta({ id: 'DidBulkResult' });

export const didRoutes = (service: DidService): Endpoint[] => [
  endpoint({
    ...common,
    method: 'get',
    path: '/v1/dids/by-number/:e164',
    summary: 'Read a DID by its number',
    params: z.strictObject({
      e164: z
        .preprocess(numberIn, z.string())
        .meta({ type: 'string', description: 'with its plus sign, literal or as %2B, or without' }),
    }),
    status: 200,
    reply: didReply,
    errors: ['not_found'],
    handle: async ({ params, caller }) => toJson(await service.getByNumber(params.e164, caller.customerId)),
  }),
  endpoint({
    ...common,
    method: 'get',
    path: '/v1/dids',
    summary: 'List the DIDs of the customer, newest first',
    query: pageQuery,
    status: 200,
    reply: listOf(didReply),
    handle: ({ query, caller }) =>
      page(query, (limit, before) => service.list({ customerId: caller.customerId }, limit, before), toJson),
  }),
  endpoint({
    ...common,
    method: 'get',
    path: '/v1/dids/:id',
    summary: 'Read a DID',
    params: idParams,
    status: 200,
    reply: didReply,
    errors: ['not_found'],
    handle: async ({ params, caller }) => toJson(await service.get(params.id, caller.customerId)),
  }),
  endpoint({
    ...common,
    method: 'patch',
    path: '/v1/dids/:id',
    summary: 'Change where calls to a DID go',
    description:
      'When `route_mode` changes, the `route_target` of the old mode goes. null takes an optional field away.',
    params: idParams,
    body: didPatch,
    status: 200,
    reply: didReply,
    errors: ['not_found'],
    handle: async ({ params, body, caller }) =>
      toJson(await service.updateAsOwner(params.id, caller.customerId, body)),
  }),
  endpoint({
    ...operator,
    method: 'post',
    path: '/admin/v1/dids',
    summary: 'Assign a DID to a customer',
    body: didCreate,
    status: 201,
    reply: didReply,
    errors: ['number_exists'],
    handle: async ({ body }) => toJson(await service.create(body)),
  }),
  endpoint({
    ...operator,
    method: 'post',
    path: '/admin/v1/dids/bulk',
    summary: 'Assign up to 1000 DIDs',
    description: 'Each item succeeds or fails by itself; the reply tells which.',
    body: bulkCreate,
    documentedBody: documentedBulkCreate,
    status: 200,
    reply: bulkReply,
    handle: async ({ body }) => bulkJson(await service.createMany(body.dids)),
  }),
  endpoint({
    ...operator,
    method: 'get',
    path: '/admin/v1/dids',
    summary: 'List DIDs, newest first',
    query: pageQuery.extend({ customer_id: idField.optional() }),
    status: 200,
    reply: listOf(didReply),
    handle: ({ query }) =>
      page(query, (limit, before) => service.list({ customerId: query.customer_id }, limit, before), toJson),
  }),
  endpoint({
    ...operator,
    method: 'get',
    path: '/admin/v1/dids/:id',
    summary: 'Read a DID',
    params: idParams,
    status: 200,
    reply: didReply,
    errors: ['not_found'],
    handle: async ({ params }) => toJson(await service.get(params.id)),
  }),
  endpoint({
    ...operator,
    method: 'patch',
    path: '/admin/v1/dids/:id',
    summary: 'Change a DID',
    description:
      'When `route_mode` changes, the `route_target` of the old mode goes. null takes an optional field away.',
    params: idParams,
    body: didAdminPatch,
    status: 200,
    reply: didReply,
    errors: ['not_found'],
    handle: async ({ params, body }) => toJson(await service.update(params.id, body)),
  }),
  endpoint({
    ...operator,
    method: 'delete',
    path: '/admin/v1/dids/:id',
    summary: 'Take a DID away',
    params: idParams,
    status: 204,
    errors: ['not_found'],
    handle: ({ params }) => service.delete(params.id),
  }),
];

function bulkJson(results: readonly BulkResult[]): z.input<typeof bulkReply> {
  const created = results.filter((result) => 'did' in result).length;
  return {
    count: results.length,
    created,
    failed: results.length - created,
    data: results.map((result) =>
      'did' in result
        ? { did: toJson(result.did) }
        : {
            error: { code: result.error.code, message: result.error.message, details: result.error.details },
          },
    ),
  };
}
