import { z } from 'zod';
import { endpoint, idField, type Endpoint } from '../http/endpoint.ts';
import { ApiError } from '../lib/errors.ts';

export const STREAM_PATH = '/v1/events';

export const streamQuery = z.strictObject({
  since: idField
    .optional()
    .describe(
      '`event_id` of the last event that was handled: what came after it is sent first. `earliest`: everything that is kept',
    ),
});

/** The stream's place in the documentation. A request that asks for no upgrade comes here. */
export const streamRoutes = (): Endpoint[] => [
  endpoint({
    method: 'get',
    path: STREAM_PATH,
    auth: 'customer',
    tag: 'Events',
    summary: 'The events of the application, live, over a WebSocket',
    status: 101,
    description:
      'Each text frame is an event as a webhook brings it, with `event_id` as its first field. Events come once each, in order, whether there is a webhook_url or not; those of ' +
      'one call in the order of the call. The reply has the newest event in `X-MiniVoice-Event-Id`. A connection that breaks is resumed with `since`. Pings come every 20 seconds. ' +
      'Close codes: 1001 this process ends, 4001 the key is not valid any more, 4008 the subscriber did not read for 10 seconds, ' +
      '4029 it sent more than 100 messages between two pings.',
    query: streamQuery,
    errors: ['not_found', 'rate_limited', 'service_unavailable', 'upgrade_required'],
    handle: () => Promise.reject(new ApiError('upgrade_required')),
  }),
];
