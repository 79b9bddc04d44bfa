import { serve, serveFromShell, type Served, type ServeOptions } from '../serve.ts';

/**
 * Every call is forwarded, after a short notice. What became of it is in the last webhook: `call.completed`,
 * or `call.failed` with `transfer_unreachable`.
 *
 *   FORWARD_TO=+15551230002 WEBHOOK_SECRET=… node --import tsx examples/call-forwarding/server.ts
 *
 * A number is dialed through the customer's trunks; FORWARD_TO may be a SIP URI, too.
 */
export const startCallForwarding = ({
  forwardTo,
  ...options
}: ServeOptions & { forwardTo: string }): Promise<Served> =>
  serve(
    {
      '/answer': () => [
        { say: { text: 'Please hold while we connect you.' } },
        { type: 'transfer', destination: forwardTo },
      ],
    },
    options,
  );

if (import.meta.filename === process.argv[1]) {
  const { FORWARD_TO: forwardTo } = process.env;
  if (!forwardTo) throw new Error('FORWARD_TO is not set');
  await serveFromShell((options) => startCallForwarding({ ...options, forwardTo }));
}
