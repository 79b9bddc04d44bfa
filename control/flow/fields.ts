import { z } from 'zod';

/** A URL of the customer's. Where it may lead is checked when it is fetched, by the address it resolves to. */
export const httpUrl = z.string().max(2048).refine((value) => {
  return URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}, 'must be an http or https URL');

/** The codes an inbound call can be refused with (contract §2). */
export const refusalCode = z.union([z.literal(403), z.literal(404), z.literal(480), z.literal(486), z.literal(603)]);
