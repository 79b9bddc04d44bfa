import { percentile } from '../edge/generators.ts';
import { RARE, type Owner } from './call-rows.ts';
import type { Subjects } from './subjects.ts';

/** Each is asked so often, or until so much time is spent. */
const TRIES = 10;
const SPENT_MS = 5500;
/**
 * No list of a page's length may take longer, however much is stored: a filter without an index takes
 * seconds.
 */
export const SLOWEST_MS = 250;

export interface Question {
  name: string;
  target: string;
  /** Asked with the operator's token, or else with the application's key. */
  operator?: boolean;
}

export interface Answer {
  p50: number;
  max: number;
  rows: number;
}

const day = (ago: number): string =>
  encodeURIComponent(new Date(Date.now() - ago * 86_400_000).toISOString());
const number = encodeURIComponent;
const NOBODY = number('+4915199999999');

/**
 * Lists as customers and the operator ask for them, with every filter; the first is what the others are
 * compared with.
 */
export function questions(owner: Owner, call: string, deepCursor: string): Question[] {
  const month = new Date(Date.now() - 30 * 86_400_000);
  const from = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth(), 1)).toISOString();
  const to = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1)).toISOString();
  const operator = true;
  return [
    { name: 'calls', target: '/v1/calls' },
    { name: 'calls, limit=200', target: '/v1/calls?limit=200' },
    { name: 'calls, a cursor 50 days ago', target: `/v1/calls?cursor=${encodeURIComponent(deepCursor)}` },
    { name: 'calls, since a day ago', target: `/v1/calls?since=${day(1)}` },
    { name: 'calls, direction', target: '/v1/calls?direction=inbound' },
    { name: 'calls, status=completed', target: '/v1/calls?status=completed' },
    { name: 'calls, status=failed', target: '/v1/calls?status=failed' },
    { name: 'calls, status=canceled, no hits', target: '/v1/calls?status=canceled' },
    { name: 'calls, status=in_progress', target: '/v1/calls?status=in_progress' },
    { name: `calls, from, ${RARE.calls} hits`, target: `/v1/calls?from=${number(RARE.number)}` },
    { name: 'calls, from, no hits', target: `/v1/calls?from=${NOBODY}` },
    { name: 'calls, to, no hits', target: `/v1/calls?to=${NOBODY}` },
    { name: 'calls, did, no hits', target: `/v1/calls?did=${NOBODY}` },
    { name: 'calls, until 59 days ago', target: `/v1/calls?until=${day(59)}` },
    { name: 'calls, an hour 50 days ago', target: `/v1/calls?since=${day(50)}&until=${day(50 - 1 / 24)}` },
    { name: 'events of a call', target: `/v1/calls/${call}/events` },
    { name: 'usage of a month', target: `/v1/usage?from=${from}&to=${to}` },
    { name: 'deliveries', target: '/v1/webhooks/deliveries' },
    { name: 'deliveries, call_id', target: `/v1/webhooks/deliveries?call_id=${call}` },
    { name: 'deliveries, status=pending', target: '/v1/webhooks/deliveries?status=pending' },
    { name: 'deliveries, status=exhausted', target: '/v1/webhooks/deliveries?status=exhausted' },
    { name: 'deliveries, status=delivered', target: '/v1/webhooks/deliveries?status=delivered' },
    { name: 'deliveries, event, no hits', target: '/v1/webhooks/deliveries?event=call.answered' },
    { name: 'operator: calls', target: '/admin/v1/calls', operator },
    { name: 'operator: calls, status=completed', target: '/admin/v1/calls?status=completed', operator },
    { name: 'operator: calls, from, no hits', target: `/admin/v1/calls?from=${NOBODY}`, operator },
    { name: 'operator: calls, until 59 days ago', target: `/admin/v1/calls?until=${day(59)}`, operator },
    { name: 'operator: calls, until, no hits', target: `/admin/v1/calls?until=${day(100)}`, operator },
    {
      name: 'operator: deliveries, event, no hits',
      target: '/admin/v1/webhooks/deliveries?event=call.answered',
      operator,
    },
    { name: 'operator: ledger', target: `/admin/v1/customers/${owner.customer}/ledger`, operator },
    {
      name: 'operator: ledger, call_id',
      target: `/admin/v1/customers/${owner.customer}/ledger?call_id=${call}`,
      operator,
    },
  ];
}

/** @throws Error for anything but 200 */
export async function answer(subjects: Subjects, question: Question, key: string): Promise<Answer> {
  const took: number[] = [];
  let rows = 0;
  for (
    const end = performance.now() + SPENT_MS;
    took.length === 0 || (took.length < TRIES && performance.now() < end);
  ) {
    const reply = await subjects.ask('GET', question.target, undefined, question.operator ? undefined : key);
    if (reply.status !== 200)
      throw new Error(`${question.target}: ${reply.status} ${JSON.stringify(reply.body)}`);
    took.push(reply.ms);
    rows = Array.isArray(reply.body['data']) ? reply.body['data'].length : 1;
  }
  took.sort((a, b) => a - b);
  return { p50: percentile(took, 0.5), max: took.at(-1) ?? NaN, rows };
}
