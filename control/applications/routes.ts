import { endpoint, idParams, type Endpoint } from '../http/endpoint.ts';
import { listOf, page, pageQuery } from '../http/pagination.ts';
import {
  applicationCreate,
  applicationPatch,
  applicationReply,
  applicationWithKeyReply,
  applicationWithSecretReply,
  rotateKey,
  rotateWebhookSecret,
  toJson,
  type Application,
} from './schema.ts';
import type { ApplicationService } from './service.ts';

const common = { auth: 'customer', tag: 'Applications' } as const;
const operator = { auth: 'operator', tag: 'Operator: customers' } as const;
const PATCHING =
  'null takes an optional field away. A `webhook_secret` given here replaces the old one at once; rotate it to let both sign for a day.';
const ROTATING =
  'The reply holds the new key, which is not shown again. The old one works for `grace_seconds` more.';

export function applicationRoutes(service: ApplicationService): Endpoint[] {
  const withHealth = async (applications: Application[]) => {
    const health = await service.health(applications);
    return applications.map((application) => ({
      id: application.id,
      json: toJson(application, health.get(application.id)),
    }));
  };
  const one = async (application: Application) =>
    toJson(application, (await service.health([application])).get(application.id));
  return [
    endpoint({
      ...common,
      method: 'post',
      path: '/v1/applications',
      summary: 'Create an application',
      description: 'The reply holds its API key, which is not shown again.',
      body: applicationCreate,
      status: 201,
      reply: applicationWithKeyReply,
      handle: async ({ body, caller }) => {
        const { application, apiKey } = await service.create(caller.customerId, body);
        return { ...(await one(application)), api_key: apiKey };
      },
    }),
    endpoint({
      ...common,
      method: 'get',
      path: '/v1/applications',
      summary: 'List the applications of the customer, newest first',
      query: pageQuery,
      status: 200,
      reply: listOf(applicationReply),
      handle: ({ query, caller }) =>
        page(
          query,
          async (limit, before) => withHealth(await service.list(caller.customerId, limit, before)),
          ({ json }) => json,
        ),
    }),
    endpoint({
      ...common,
      method: 'get',
      path: '/v1/applications/:id',
      summary: 'Read an application',
      params: idParams,
      status: 200,
      reply: applicationReply,
      errors: ['not_found'],
      handle: async ({ params, caller }) => one(await service.get(caller.customerId, params.id)),
    }),
    endpoint({
      ...common,
      method: 'patch',
      path: '/v1/applications/:id',
      summary: 'Change an application',
      description: `${PATCHING} What waits for a changed \`webhook_url\` is sent there at once. A key of a disabled application opens nothing: another one of the customer, or the operator, enables it again.`,
      params: idParams,
      body: applicationPatch,
      status: 200,
      reply: applicationReply,
      errors: ['not_found'],
      handle: async ({ params, body, caller }) =>
        one(await service.update(caller.customerId, params.id, body)),
    }),
    endpoint({
      ...common,
      method: 'post',
      path: '/v1/applications/:id/rotate-key',
      summary: 'Replace the API key',
      description: ROTATING,
      params: idParams,
      body: rotateKey,
      status: 200,
      reply: applicationWithKeyReply,
      errors: ['not_found'],
      handle: async ({ params, body, caller }) => {
        const { application, apiKey } = await service.rotateKey(
          caller.customerId,
          params.id,
          body.grace_seconds,
        );
        return { ...(await one(application)), api_key: apiKey };
      },
    }),
    endpoint({
      ...common,
      method: 'post',
      path: '/v1/applications/:id/rotate-webhook-secret',
      summary: 'Replace the webhook secret',
      description: 'For 24 hours every delivery carries a signature by both secrets.',
      params: idParams,
      body: rotateWebhookSecret,
      status: 200,
      reply: applicationWithSecretReply,
      errors: ['not_found'],
      handle: async ({ params, body, caller }) => {
        const { application, generated } = await service.rotateWebhookSecret(
          caller.customerId,
          params.id,
          body.webhook_secret,
        );
        return { ...(await one(application)), webhook_secret: generated };
      },
    }),
    endpoint({
      ...operator,
      method: 'post',
      path: '/admin/v1/customers/:id/applications',
      summary: 'Create an application for a customer',
      description:
        'This is how the first API key of a customer comes into being; the key is not shown again.',
      params: idParams,
      body: applicationCreate,
      status: 201,
      reply: applicationWithKeyReply,
      errors: ['not_found'],
      handle: async ({ params, body }) => {
        const { application, apiKey } = await service.create(params.id, body);
        return { ...(await one(application)), api_key: apiKey };
      },
    }),
    endpoint({
      ...operator,
      method: 'get',
      path: '/admin/v1/customers/:id/applications',
      summary: 'List the applications of a customer, newest first',
      params: idParams,
      query: pageQuery,
      status: 200,
      reply: listOf(applicationReply),
      errors: ['not_found'],
      handle: ({ params, query }) =>
        page(
          query,
          async (limit, before) => withHealth(await service.list(params.id, limit, before)),
          ({ json }) => json,
        ),
    }),
    endpoint({
      ...operator,
      method: 'get',
      path: '/admin/v1/applications/:id',
      summary: 'Read any application',
      params: idParams,
      status: 200,
      reply: applicationReply,
      errors: ['not_found'],
      handle: async ({ params }) => one(await service.find(params.id)),
    }),
    endpoint({
      ...operator,
      method: 'patch',
      path: '/admin/v1/applications/:id',
      summary: 'Change any application, or enable it again',
      description: PATCHING,
      params: idParams,
      body: applicationPatch,
      status: 200,
      reply: applicationReply,
      errors: ['not_found'],
      handle: async ({ params, body }) =>
        one(await service.update((await service.find(params.id)).customerId, params.id, body)),
    }),
    endpoint({
      ...operator,
      method: 'post',
      path: '/admin/v1/applications/:id/rotate-key',
      summary: 'Replace the API key of any application, such as a lost one',
      description: ROTATING,
      params: idParams,
      body: rotateKey,
      status: 200,
      reply: applicationWithKeyReply,
      errors: ['not_found'],
      handle: async ({ params, body }) => {
        const { customerId } = await service.find(params.id);
        const { application, apiKey } = await service.rotateKey(customerId, params.id, body.grace_seconds);
        return { ...(await one(application)), api_key: apiKey };
      },
    }),
  ];
}
