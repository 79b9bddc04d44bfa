import { serve, serveFromShell, type Served, type ServeOptions } from '../serve.ts';

export const PROMPTS = {
  menu: 'Press one for sales. Press two for support.',
  again: 'Sorry, we did not get that.',
  goodbye: 'Please call again. Goodbye.',
  nobody: 'Nobody can take your call right now. Please call again later.',
};

interface Departments {
  sales: string;
  support: string;
}

/**
 * A key decides where the caller is transferred to. The keys of a gather come with the request of the
 * redirect after it. No key, or a wrong one: the menu once more, then good-bye. Nobody answers: the fallback
 * of `bridge` says so.
 *
 * SALES=+15551230002 SUPPORT=sip:desk@pbx.example WEBHOOK_SECRET=… node --import tsx
 * examples/gather-and-transfer/server.ts
 */
export function startGatherAndTransfer({
  departments,
  ...options
}: ServeOptions & { departments: Departments }): Promise<Served> {
  const menu = (url: string, attempt: number): unknown[] => [
    { gather: { prompt: PROMPTS.menu, num_digits: 1, timeout_seconds: 7 } },
    { type: 'redirect', url: `${url}/chosen?attempt=${attempt}` },
  ];
  return serve(
    {
      '/answer': (_query, url) => menu(url, 1),
      '/chosen': (query, url) => {
        if (query.get('digits') === '1') return [{ type: 'transfer', destination: departments.sales }];
        // Actions after a bridge run when it is not reached, and only then.
        if (query.get('digits') === '2')
          return [
            { type: 'bridge', destination: departments.support, timeout_seconds: 20 },
            { say: { text: PROMPTS.nobody } },
          ];
        return query.get('attempt') === '1'
          ? [{ say: { text: PROMPTS.again } }, ...menu(url, 2)]
          : [{ say: { text: PROMPTS.goodbye } }];
      },
    },
    options,
  );
}

if (import.meta.filename === process.argv[1]) {
  const { SALES: sales, SUPPORT: support } = process.env;
  if (!sales || !support) throw new Error('SALES and SUPPORT are not set');
  await serveFromShell((options) => startGatherAndTransfer({ ...options, departments: { sales, support } }));
}
