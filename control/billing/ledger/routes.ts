import { endpoint, idParams, type Endpoint } from '../../http/endpoint.ts';
import { listOf, page } from '../../http/pagination.ts';
import {
  balanceReply,
  balanceToJson,
  creditCreate,
  ledgerQuery,
  transferReply,
  transferToJson,
  usageQuery,
  usageReply,
  usageToJson,
} from './schema.ts';
import type { LedgerService } from './service.ts';

const operator = { auth: 'operator', tag: 'Operator: money' } as const;
const customer = { auth: 'customer', tag: 'Money' } as const;

export const ledgerRoutes = (service: LedgerService): Endpoint[] => [
  endpoint({
    ...customer,
    method: 'get',
    path: '/v1/usage',
    summary: 'What the calls of this application have cost',
    description:
      'Settled totals of answered calls that ended in the half-open window from `from` to `to`; without them, of this calendar month in UTC. A call is in them once all of its legs are settled, moments after it has ended.',
    query: usageQuery,
    status: 200,
    reply: usageReply,
    handle: async ({ query, caller }) =>
      usageToJson(caller.applicationId, await service.usage(caller, query)),
  }),
  endpoint({
    ...customer,
    method: 'get',
    path: '/v1/balance',
    summary: "The customer's balance",
    status: 200,
    reply: balanceReply,
    handle: async ({ caller }) => balanceToJson(await service.statement(caller.customerId)),
  }),
  endpoint({
    ...operator,
    method: 'post',
    path: '/admin/v1/customers/:id/credits',
    summary: 'Pay money in for a customer, or take it back',
    description:
      'The same `reference` twice credits once and answers with the first credit. A negative amount needs a `reason` and cannot be more than is available.',
    params: idParams,
    body: creditCreate,
    status: 201,
    reply: transferReply,
    errors: ['not_found', 'insufficient_balance'],
    handle: async ({ params, body }) =>
      transferToJson(
        await service.credit(params.id, {
          amountMicros: body.amount,
          reference: body.reference,
          reason: body.reason,
        }),
      ),
  }),
  endpoint({
    ...operator,
    method: 'get',
    path: '/admin/v1/customers/:id/ledger',
    summary: 'Every movement of money of a customer, newest first',
    params: idParams,
    query: ledgerQuery,
    status: 200,
    reply: listOf(transferReply),
    errors: ['not_found'],
    handle: ({ params, query }) =>
      page(
        query,
        (limit, before) => service.transfers(params.id, { callId: query.call_id }, limit, before),
        transferToJson,
      ),
  }),
  endpoint({
    ...operator,
    method: 'get',
    path: '/admin/v1/customers/:id/balance',
    summary: 'The balance of a customer',
    params: idParams,
    status: 200,
    reply: balanceReply,
    errors: ['not_found'],
    handle: async ({ params }) => balanceToJson(await service.statement(params.id)),
  }),
];
