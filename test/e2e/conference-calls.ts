import { done, until, type Json, type Tenant } from './platform.ts';

/** The actions that a tenant's server gives, by who calls. */
export function byCaller({ server }: Tenant, actions: Record<string, unknown[]>): void {
  server.answers.set('/answer', (request, response) => {
    const from = new URL(request.url ?? '', server.base).searchParams.get('from') ?? '';
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ actions: actions[from] ?? [] }));
  });
}

/** The latest call from a number, as the API shows it. */
export async function callFrom(
  { key }: Tenant,
  from: string,
): Promise<Json & { id: string; status: string; hangup: Json; failure?: Json }> {
  return until(async () => {
    const [call] = (await done('GET', `/v1/calls?from=${encodeURIComponent(from)}`, undefined, key))
      .data as Json[];
    return call as Json & { id: string; status: string; hangup: Json; failure?: Json };
  }, `a call from ${from}`);
}
