import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { answerUrlRequests } from '../../control/flow/answer-url-docs.ts';
import type { Endpoint } from '../../control/http/endpoint.ts';
import { openApiDocument } from '../../control/http/openapi.ts';
import { EVENTS } from './events.ts';

const CONTROL = join(import.meta.dirname, '../../control');
const DECLARES = /^export (?:const|function) (\w+Routes)\b/m;

/** Stands for any service: declaring routes calls none. */
const anything: object = new Proxy(() => undefined, { get: () => anything });

/** Every endpoint that a room declares by a function named `…Routes`, without what answers it. */
export async function allEndpoints(): Promise<Endpoint[]> {
  const endpoints: Endpoint[] = [];
  for (const file of readdirSync(CONTROL, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!file.endsWith('.ts')) continue;
    const name = DECLARES.exec(readFileSync(join(CONTROL, file), 'utf8'))?.[1];
    if (name === undefined) continue;
    const module = (await import(join(CONTROL, file))) as Record<
      string,
      (...services: object[]) => Endpoint[]
    >;
    endpoints.push(...(module[name]?.(anything, anything) ?? []));
  }
  return endpoints;
}

/** The OpenAPI document of everything there is, as the control plane publishes it. */
export const wholeDocument = async () =>
  openApiDocument(await allEndpoints(), {
    version: '1',
    events: Object.values(EVENTS),
    requests: answerUrlRequests,
  });
