import { endpoint, idParams, type CustomerCaller, type Endpoint } from '../http/endpoint.ts';
import { listOf, page } from '../http/pagination.ts';
import {
  attemptToJson,
  deliveryQuery,
  deliveryReply,
  deliveryToJson,
  deliveryWithAttemptsReply,
  operatorDeliveryQuery,
  redeliverAll,
  redeliverAllReply,
  testReply,
} from './schema.ts';
import type { Scope, WebhookService } from './service.ts';

const TAG = 'Webhooks';
const OPERATOR = 'Operator: webhooks';

/** What customers do with the deliveries of their application's events, and the operator with all. */
export function webhookRoutes(service: WebhookService): Endpoint[] {
  const own = (caller: CustomerCaller) => ({ applicationId: caller.applicationId });
  const whole = async (id: string, scope: Scope) => {
    const delivery = await service.get(id, scope);
    return { ...deliveryToJson(delivery), body: delivery.body, attempts: delivery.made.map(attemptToJson) };
  };
  const filterOf = ({
    call_id: callId,
    event,
    status,
  }: {
    call_id?: string;
    event?: string;
    status?: 'pending' | 'delivered' | 'exhausted' | 'disabled' | 'none';
  }) => ({ callId, event, status });
  return [
    endpoint({
      method: 'get',
      path: '/v1/webhooks/deliveries',
      auth: 'customer',
      tag: TAG,
      summary: 'List webhook deliveries, newest first',
      status: 200,
      description:
        'One for each event of the application, those included for which there was no webhook_url. They are kept for WEBHOOK_RETENTION_DAYS.',
      query: deliveryQuery,
      reply: listOf(deliveryReply),
      handle: ({ query, caller }) =>
        page(
          query,
          (limit, before) => service.list({ ...filterOf(query), ...own(caller) }, limit, before),
          deliveryToJson,
        ),
    }),
    endpoint({
      method: 'get',
      path: '/v1/webhooks/deliveries/:id',
      auth: 'customer',
      tag: TAG,
      summary: 'Read a delivery with every attempt',
      status: 200,
      params: idParams,
      reply: deliveryWithAttemptsReply,
      errors: ['delivery_not_found'],
      handle: ({ params, caller }) => whole(params.id, own(caller)),
    }),
    endpoint({
      method: 'post',
      path: '/v1/webhooks/deliveries/:id/redeliver',
      auth: 'customer',
      tag: TAG,
      summary: 'Send an event again',
      status: 202,
      description:
        'Now, whatever became of it: with the same event id, the next attempt number, and the whole schedule before it.',
      params: idParams,
      reply: deliveryReply,
      errors: ['delivery_not_found', 'webhook_not_configured', 'webhook_disabled'],
      handle: async ({ params, caller }) => deliveryToJson(await service.redeliver(params.id, own(caller))),
    }),
    endpoint({
      method: 'post',
      path: '/v1/webhooks/redeliver',
      auth: 'customer',
      tag: TAG,
      summary: 'Send all failed events since a time again',
      status: 202,
      body: redeliverAll,
      reply: redeliverAllReply,
      errors: ['webhook_not_configured', 'webhook_disabled'],
      handle: async ({ body, caller }) => ({
        count: await service.redeliverAll(
          caller.applicationId,
          { since: body.since, until: body.until },
          body.status,
        ),
      }),
    }),
    endpoint({
      method: 'post',
      path: '/v1/webhooks/test',
      auth: 'customer',
      tag: TAG,
      summary: 'Send a signed test event and say how it went',
      status: 200,
      description:
        'The event is `webhook.test`, once, to the webhook_url as it is now; the reply comes when the attempt is over, after 10 seconds at the latest. At most 20 a minute.',
      reply: testReply,
      errors: ['webhook_not_configured'],
      perMinute: 20,
      handle: async ({ caller }) => {
        const { attempt, body, deliveryId, eventId } = await service.test(
          caller.applicationId,
          caller.customerId,
        );
        return {
          delivered: attempt.error === undefined,
          delivery_id: deliveryId,
          event_id: eventId,
          body,
          attempt: attemptToJson(attempt),
        };
      },
    }),
    endpoint({
      method: 'post',
      path: '/v1/webhooks/enable',
      auth: 'customer',
      tag: TAG,
      summary: 'Enable an endpoint again that has answered 410',
      status: 204,
      description:
        'Setting the webhook_url of the application does the same. What was given up meanwhile is `disabled` and can be asked for with `POST /v1/webhooks/redeliver`.',
      errors: ['webhook_not_configured'],
      handle: ({ caller }) => service.enable(caller.applicationId),
    }),
    endpoint({
      method: 'get',
      path: '/admin/v1/webhooks/deliveries',
      auth: 'operator',
      tag: OPERATOR,
      summary: "List all customers' webhook deliveries, newest first",
      status: 200,
      query: operatorDeliveryQuery,
      reply: listOf(deliveryReply),
      handle: ({ query }) =>
        page(
          query,
          (limit, before) =>
            service.list(
              { ...filterOf(query), customerId: query.customer_id, applicationId: query.application_id },
              limit,
              before,
            ),
          deliveryToJson,
        ),
    }),
    endpoint({
      method: 'get',
      path: '/admin/v1/webhooks/deliveries/:id',
      auth: 'operator',
      tag: OPERATOR,
      summary: 'Read any delivery with every attempt',
      status: 200,
      params: idParams,
      reply: deliveryWithAttemptsReply,
      errors: ['delivery_not_found'],
      handle: ({ params }) => whole(params.id, {}),
    }),
  ];
}
