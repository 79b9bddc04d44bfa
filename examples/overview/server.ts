import { serve, serveFromShell, type Served, type ServeOptions } from '../serve.ts';

/**
 * The smallest application: one sentence, then MiniVoice hangs up.
 *
 *   WEBHOOK_SECRET=… node --import tsx examples/overview/server.ts
 */
export const startOverview = (options: ServeOptions): Promise<Served> =>
  serve(
    {
      '/answer': () => [{ say: { text: 'Thanks for calling.' } }],
    },
    options,
  );

if (import.meta.filename === process.argv[1]) await serveFromShell(startOverview);
